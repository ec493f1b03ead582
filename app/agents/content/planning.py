"""What to look up before writing, as the model answers it."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from app.agents.content.characters import visible
from app.agents.prompt import load_prompt
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message

MOST_QUERIES = 4
LONGEST_QUERY = 400


class ResearchPlan(BaseModel):
    """The web searches that a text needs."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    states_facts: bool = Field(
        description="False only for fiction, verse, a personal letter, or a change to a text that the user gave."
    )
    queries: list[str] = Field(description="Search queries, the most important first; none when states_facts is false.")


def plan_messages(task: str, history: Sequence[Message]) -> tuple[Message, ...]:
    instructions = load_prompt("content_plan").render(most=str(MOST_QUERIES))
    return (Message("system", instructions), *history, Message("user", task))


def queries_of(plan: ResearchPlan) -> list[str]:
    """At most `MOST_QUERIES`, no two alike, each one line; none when the text states no facts.

    Raises `AgentOutputInvalid` when a text that states facts comes without a query.
    """
    if not plan.states_facts:
        return []
    by_key = {query.casefold(): query for query in reversed([_flat(one) for one in plan.queries]) if query}
    if not by_key:
        raise AgentOutputInvalid("the model planned a text that states facts, but no search query for it")
    return list(reversed(by_key.values()))[:MOST_QUERIES]


def _flat(query: str) -> str:
    return " ".join(visible(query).split())[:LONGEST_QUERY].strip()
