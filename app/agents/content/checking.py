"""Whether the sources say what the text says they do, as a model judges it."""

import html
from collections.abc import Sequence
from itertools import accumulate

from pydantic import BaseModel, ConfigDict, Field

from app.agents.citations import cited_numbers
from app.agents.content.conversation import source_tags
from app.agents.prompt import load_prompt
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message
from app.llm.search import SearchResult

LONGEST_CHECKED = 40_000
MOST_FINDINGS = 10
LONGEST_FINDING = 300


class UnsupportedClaim(BaseModel):
    """A claim that the sources its paragraph cites do not support."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    paragraph: int = Field(description="The paragraph's number.")
    problem: str = Field(description="One sentence: which claim it is, and what the cited sources say instead.")


class SupportVerdict(BaseModel):
    """The claims of a text that its cited sources do not support."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    unsupported: list[UnsupportedClaim] = Field(description="Empty when the cited sources support every claim.")


def checked_part(paragraphs: Sequence[str]) -> list[str]:
    """The paragraphs from the first on that fit into `LONGEST_CHECKED` characters, and at least one."""
    fitting = sum(length <= LONGEST_CHECKED for length in accumulate(map(len, paragraphs)))
    return list(paragraphs[: max(1, fitting)])


def check_messages(task: str, paragraphs: Sequence[str], sources: Sequence[SearchResult]) -> tuple[Message, Message]:
    cited = {number for paragraph in paragraphs for number in cited_numbers(paragraph)}
    material = load_prompt("content_check_task").render(
        task=task, sources=source_tags(sources, only=cited), paragraphs="\n".join(_tags(paragraphs))
    )
    return Message("system", load_prompt("content_check").render()), Message("user", material)


def findings_of(verdict: SupportVerdict, paragraphs: int) -> list[UnsupportedClaim]:
    """Raises `AgentOutputInvalid` when the verdict is about a paragraph that there is not."""
    for claim in verdict.unsupported:
        if not 1 <= claim.paragraph <= paragraphs:
            raise AgentOutputInvalid(f"the self-check names paragraph {claim.paragraph}, but there are {paragraphs}")
    return verdict.unsupported[:MOST_FINDINGS]


def repair_request(findings: Sequence[UnsupportedClaim]) -> str:
    """Tells the writer what to correct; the findings may repeat what a page said, so they are material as well."""
    listed = "\n".join(_finding(claim) for claim in findings)
    return load_prompt("content_repair").render(findings=listed)


def named(findings: Sequence[UnsupportedClaim]) -> str:
    """The paragraphs by number, without a word of the text."""
    return ", ".join(str(number) for number in sorted({claim.paragraph for claim in findings}))


def _finding(claim: UnsupportedClaim) -> str:
    problem = html.escape(" ".join(claim.problem.split())[:LONGEST_FINDING], quote=False)
    return f'<finding paragraph="{claim.paragraph}">{problem}</finding>'


def _tags(paragraphs: Sequence[str]) -> list[str]:
    return [
        f'<paragraph id="{number}">{html.escape(paragraph, quote=False)}</paragraph>'
        for number, paragraph in enumerate(paragraphs, start=1)
    ]
