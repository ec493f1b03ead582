"""An agent that is a graph goes on where an earlier attempt ended, or starts afresh when it cannot."""

import ast
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START
from langgraph.runtime import Runtime
from pydantic import BaseModel

from app.agents.base import AgentOutput, AgentTools
from app.agents.content.agent import NO_SOURCES_LINE, ContentAgent
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.checkpoints.models import ThreadKey
from app.checkpoints.service import Checkpoints
from app.database.documents import Database
from app.database.errors import StoreUnavailable
from app.llm.errors import AgentOutputInvalid, LlmTimeout
from app.llm.messages import Asked, Message
from app.llm.search import SearchResult
from app.llm.usage import ModelRole
from tests.architecture.markdown import blocks_of
from tests.architecture.tree import modules
from tests.checkpoint_builders import stored, the_checkpoints
from tests.fakes.agents import FixedSearch, SteadyChat, a_request, a_source, tools_with
from tests.fakes.research import ResearchChat
from tests.job_builders import TENANT


class Failing(SteadyChat):
    """Fails the given call instead of passing it on."""

    def __init__(self, chat: SteadyChat, *, at: int) -> None:
        super().__init__(chat.answer, asked=chat.asked)
        self.at = at

    async def _say(self, role: Asked, messages: Sequence[Message]) -> str:
        if len(self.asked) + 1 == self.at:
            raise LlmTimeout("slow")
        return await super()._say(role, messages)


class Mood(StrEnum):
    CALM = "calm"


class Plan(BaseModel):
    """Nested, so that its parts have to be found too."""

    mood: Mood
    sources: list[SearchResult]


@dataclass(frozen=True)
class Draft:
    plan: Plan | None


class PlannedState(AgentState, total=False):
    drafts: dict[str, Draft]
    text: str


class PlanningAgent(GraphAgent[PlannedState]):
    """Plans, then asks a model."""

    state = PlannedState

    def __init__(self) -> None:
        self.calls = Counter[str]()
        super().__init__()

    def build(self, graph: Graph) -> None:
        graph.add_node("plan", self.plan)
        graph.add_node("write", self.write)
        graph.add_edge(START, "plan")
        graph.add_edge("plan", "write")
        graph.add_edge("write", END)

    async def plan(self, state: PlannedState) -> dict[str, object]:
        self.calls["plan"] += 1
        return {"drafts": {"one": Draft(Plan(mood=Mood.CALM, sources=[a_source(1)])), "two": Draft(None)}}

    async def write(self, state: PlannedState, runtime: Runtime[Work]) -> dict[str, object]:
        self.calls["write"] += 1
        plan = state["drafts"]["one"].plan
        assert plan is not None
        assert plan.mood is Mood.CALM
        answer = await runtime.context.tools.chat.complete(ModelRole.CONTENT, (Message("user", state["task"]),))
        return {"text": f"{answer.text} {plan.sources[0].title}"}

    def output(self, state: PlannedState) -> AgentOutput:
        return AgentOutput(summary=state["text"], raw_output=state["text"])


class RenamedAgent(PlanningAgent):
    """As after a deploy: the nodes have other names."""

    def build(self, graph: Graph) -> None:
        graph.add_node("prepare", self.plan)
        graph.add_node("compose", self.write)
        graph.add_edge(START, "prepare")
        graph.add_edge("prepare", "compose")
        graph.add_edge("compose", END)


@dataclass
class Attempts:
    """One attempt after the other at the same task."""

    checkpoints: Checkpoints
    fence: int = 0
    used: list[Any] = field(default_factory=list)

    async def run(self, agent: GraphAgent[Any], tools: Any, *, feedback: str | None = None) -> AgentOutput:
        self.fence += 1
        saved = self.checkpoints.of_attempt(ThreadKey("t-1/0/Agent", TENANT, self.fence, is_new=self.fence == 1))
        self.used.append(saved)
        return await agent.run(replace(a_request("hello"), feedback=feedback), replace(tools, checkpoints=saved))


@pytest.fixture
def attempts(database: Database, tmp_path: Path) -> Attempts:
    return Attempts(the_checkpoints(database, tmp_path))


async def test_an_attempt_repeats_only_the_node_that_failed(attempts: Attempts) -> None:
    agent = PlanningAgent()
    with pytest.raises(LlmTimeout):
        await attempts.run(agent, tools_with(SteadyChat(LlmTimeout("slow"))))

    output = await attempts.run(agent, tools_with(SteadyChat("fine")))

    assert output.raw_output == "fine Page 1"
    assert agent.calls == {"plan": 1, "write": 2}


async def test_without_checkpoints_it_runs_all_the_same() -> None:
    output = await PlanningAgent().run(a_request("hello"), tools_with(SteadyChat("fine")))

    assert output.raw_output == "fine Page 1"


async def test_concurrent_runs_of_one_agent_do_not_meet(attempts: Attempts) -> None:
    agent = ContentAgent()

    first, second = await asyncio.gather(
        agent.run(a_request("one"), AgentTools(ResearchChat(["1 [1]"]), FixedSearch([a_source(1)]))),
        attempts.run(agent, AgentTools(ResearchChat(["2"]), FixedSearch([]))),
    )

    assert (first.raw_output, second.raw_output) == ("1 [1]", f"2\n\n{NO_SOURCES_LINE}")
    assert (len(first.citations), len(second.citations)) == (1, 0)


@pytest.mark.parametrize("damage", [{"spaces": {}}, {"spaces": {"k": {"ns": ""}}}, {"shape": "another"}])
async def test_a_state_that_cannot_be_used_is_forgotten_and_the_work_begins_afresh(
    attempts: Attempts, database: Database, damage: dict[str, Any]
) -> None:
    agent = PlanningAgent()
    with pytest.raises(LlmTimeout):
        await attempts.run(agent, tools_with(SteadyChat(LlmTimeout("slow"))))
    await database["checkpoints"].update_one({}, {"$set": damage})

    output = await attempts.run(agent, tools_with(SteadyChat("fine")))
    again = await attempts.run(agent, tools_with(SteadyChat("not asked")))

    assert output == again
    assert agent.calls == {"plan": 2, "write": 2}


async def test_a_crafted_state_is_not_built_and_the_work_begins_afresh(attempts: Attempts, database: Database) -> None:
    agent = PlanningAgent()
    with pytest.raises(LlmTimeout):
        await attempts.run(agent, tools_with(SteadyChat(LlmTimeout("slow"))))
    ((key, space),) = (await stored(database))["spaces"].items()
    crafted = bytes(space["checkpoint"]["data"]).replace(b"\xa5Draft", b"\xa5Popen")
    await database["checkpoints"].update_one({}, {"$set": {f"spaces.{key}.checkpoint.data": crafted}})

    output = await attempts.run(agent, tools_with(SteadyChat("fine")))

    assert output.raw_output == "fine Page 1"
    assert agent.calls == {"plan": 2, "write": 2}


async def test_a_graph_that_was_changed_does_not_go_on_with_what_the_old_one_saved(attempts: Attempts) -> None:
    old, new = PlanningAgent(), RenamedAgent()
    with pytest.raises(LlmTimeout):
        await attempts.run(old, tools_with(SteadyChat(LlmTimeout("slow"))))

    await attempts.run(new, tools_with(SteadyChat("fine")))

    assert new.calls == {"plan": 1, "write": 1}


async def test_a_finished_answer_is_given_again_unless_it_was_refused(attempts: Attempts) -> None:
    agent = PlanningAgent()
    first = await attempts.run(agent, tools_with(SteadyChat("fine")))

    again = await attempts.run(agent, tools_with(SteadyChat("other")))
    other = await attempts.run(agent, tools_with(SteadyChat("other")), feedback="it was too short")

    assert first == again
    assert other.raw_output == "other Page 1"


async def test_an_answer_that_is_refused_in_its_node_costs_no_second_search(attempts: Attempts) -> None:
    agent, search = ContentAgent(), FixedSearch([a_source(1)])
    with pytest.raises(AgentOutputInvalid):
        await attempts.run(agent, AgentTools(ResearchChat(["Invented [7]."]), search))

    again = AgentTools(ResearchChat(["Found [1]."]), search)
    output = await attempts.run(agent, again, feedback="source 7 is not there")

    assert output.raw_output == "Found [1]."
    assert [citation.title for citation in output.citations] == ["Page 1"]
    assert output.tools_used == ("web_search",)
    assert search.asked == ["wind"]


async def test_a_store_that_does_not_answer_ends_the_attempt_so_that_it_is_repeated(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("gone")

    agent = PlanningAgent()
    monkeypatch.setattr("app.database.documents.TenantDocuments.update_one", gone)

    with pytest.raises(StoreUnavailable) as caught:
        await attempts.run(agent, tools_with(SteadyChat("fine")))

    assert caught.value.retryable
    assert agent.calls == {"plan": 1}
    assert not attempts.used[0].is_stored


async def test_the_agent_with_several_steps_in_the_guide_resumes(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = (block.text for block in blocks_of("python") if "(GraphAgent" in block.text)
    (tmp_path / "shown_in_the_guide.py").write_text(shown)
    monkeypatch.syspath_prepend(tmp_path)
    agent = import_module("shown_in_the_guide").CarefulTranslationAgent()
    chat = SteadyChat("Bonjour.")
    with pytest.raises(LlmTimeout):
        await attempts.run(agent, tools_with(Failing(chat, at=2)))

    output = await attempts.run(agent, tools_with(chat))

    assert output.raw_output == "Bonjour."
    assert [messages[0].content for _, messages in chat.asked] == ["Translate this.", "Polish this."]


def test_every_conditional_edge_has_an_explicit_map() -> None:
    without = [
        f"{path}:{call.lineno}"
        for path in modules("app")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "add_conditional_edges"
        and len(call.args) < 3
        and not any(keyword.arg == "path_map" for keyword in call.keywords)
    ]

    assert not without, f"a name without a node ends the run silently; say where each leads: {without}"
