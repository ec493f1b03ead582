from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.agents.base import AgentTools
from app.agents.streaming import in_public
from app.agents.tools.models import NoTools, ToolResult
from app.errors import OrchestratorError
from app.events.publishing import LiveAttempt
from app.llm.errors import SearchUnavailable
from app.llm.messages import Completion, Message, OnToken
from app.llm.search import NoSearch, SearchResult
from app.llm.usage import NO_USAGE, ModelRole
from tests.live_builders import MemoryLog, a_publisher, a_running_job

QUESTION = (Message("user", "top secret"),)


@dataclass
class SpeakingChat:
    """Says its pieces to whoever wants pieces; an empty one begins another answer."""

    pieces: tuple[str, ...] = ("", "Once ", "upon")
    asked_for_pieces: list[bool] = field(default_factory=list)

    def model_name(self, role: Any) -> str:
        return "m"

    async def complete(
        self, role: Any, messages: Any, *, max_tokens: int | None = None, on_token: OnToken | None = None
    ) -> Completion:
        self.asked_for_pieces.append(on_token is not None)
        for piece in self.pieces:
            if on_token is not None:
                on_token(piece)
        return Completion("".join(self.pieces), "m", NO_USAGE)

    async def structured(self, role: Any, messages: Any, schema: Any) -> Any:
        raise NotImplementedError


class FailingSearch(NoSearch):
    available = True

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        raise SearchUnavailable("top secret")


@dataclass(frozen=True)
class OneTool(NoTools):
    names: frozenset[str] = frozenset({"lookup"})

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        if name not in self.names:
            return await super().call(name, arguments, step=step)
        return ToolResult(name, "top secret", "top secret")


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
async def attempt(log: MemoryLog) -> AsyncIterator[LiveAttempt]:
    publisher = a_publisher(log)
    yield publisher.of_attempt(a_running_job())
    await publisher.close()


def tools_of(attempt: LiveAttempt, chat: SpeakingChat, **others: Any) -> AgentTools:
    tools = AgentTools(chat, **{"search": NoSearch(), **others})
    return in_public(tools, attempt.begin_run("r", "TellingAgent", "executor"))


async def test_a_model_that_begins_anew_after_another_broke_off_begins_another_answer(
    log: MemoryLog, attempt: LiveAttempt
) -> None:
    chat = SpeakingChat(("", "half of", "", "the ", "whole"))

    await tools_of(attempt, chat).chat.complete(ModelRole.CONTENT, QUESTION)
    await attempt.publisher.flush()

    tokens = [(one["call"], one["text"]) for one in log.told if one["event"] == "token"]
    assert tokens == [(1, "half of"), (2, "the whole")]


async def test_each_answer_of_a_run_has_its_number(log: MemoryLog, attempt: LiveAttempt) -> None:
    tools = tools_of(attempt, SpeakingChat())

    for _ in range(3):
        await tools.chat.complete(ModelRole.CONTENT, QUESTION)
    await attempt.publisher.flush()

    assert [one["call"] for one in log.told if one["event"] == "token"] == [1, 2, 3]


async def test_an_agent_that_wants_the_pieces_itself_gets_them_too(attempt: LiveAttempt) -> None:
    pieces: list[str] = []

    await tools_of(attempt, SpeakingChat()).chat.complete(ModelRole.CONTENT, QUESTION, on_token=pieces.append)

    assert pieces == ["", "Once ", "upon"]


@pytest.mark.parametrize(("log_is_there", "wanted"), [(True, False), (False, True)])
async def test_nobody_asks_for_pieces_that_nobody_hears(log_is_there: bool, wanted: bool) -> None:
    publisher = a_publisher(MemoryLog() if log_is_there else None, tokens=wanted)
    chat = SpeakingChat()

    await tools_of(publisher.of_attempt(a_running_job()), chat).chat.complete(ModelRole.CONTENT, QUESTION)
    await publisher.close()

    assert chat.asked_for_pieces == [False]


async def test_tools_are_named_with_how_their_call_ended_and_never_with_what_they_got(
    log: MemoryLog, attempt: LiveAttempt
) -> None:
    tools = tools_of(attempt, SpeakingChat(()), search=FailingSearch(), toolbox=OneTool())

    await tools.toolbox.call("lookup", {"city": "top secret"})
    with pytest.raises(SearchUnavailable):
        await tools.search.search("top secret", max_results=3)
    with pytest.raises(OrchestratorError):
        await tools.toolbox.call("made up", {})
    await attempt.publisher.flush()

    called = [(one["tool"], one["phase"], one.get("status")) for one in log.told if one["event"] == "tool"]
    assert called == [
        ("lookup", "started", None),
        ("lookup", "finished", "completed"),
        ("web_search", "started", None),
        ("web_search", "finished", "failed"),
    ]
    assert "top secret" not in str(log.told)


async def test_no_search_is_no_tool_call(log: MemoryLog, attempt: LiveAttempt) -> None:
    await tools_of(attempt, SpeakingChat()).search.search("anything", max_results=3)
    await attempt.publisher.flush()

    assert [one["event"] for one in log.told] == ["run"]
