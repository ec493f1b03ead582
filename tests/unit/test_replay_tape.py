"""What goes through recorded tools is met again by whoever plays the recording, and holds no secret."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools
from app.agents.testing import ScriptedChat, ScriptedToolbox
from app.agents.tools.errors import ToolFailed, ToolNotReached
from app.errors import CircuitOpen, ExecutionError
from app.llm.errors import AgentOutputInvalid, LlmQuotaExhausted, ModelRefused, SearchRejected, SearchUnavailable
from app.llm.messages import Message
from app.llm.search import SearchResult
from app.llm.usage import ModelRole
from app.replay.models import RecordedRequest, RecordedRun, Recording
from app.replay.player import Player
from app.replay.tape import Tape, recorded_run

SECRET, MASK = "tvly-very-secret", "[masked]"
ASKED = (Message("user", f"Hello {SECRET}"),)
HALF = "\ud83d"


class OneAnswerSearch:
    """Gives the same answer to every search."""

    available = True

    def __init__(self, answer: list[SearchResult] | ExecutionError) -> None:
        self._answer = answer

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        if isinstance(self._answer, ExecutionError):
            raise self._answer
        return self._answer

    async def aclose(self) -> None:
        """Nothing is open."""


def a_tape() -> Tape:
    return Tape(1_000_000, lambda text: text.replace(SECRET, MASK))


def some_tools(
    *answers: str | Exception,
    found: list[SearchResult] | ExecutionError | None = None,
    results: Mapping[str, Any] | None = None,
) -> AgentTools:
    return AgentTools(ScriptedChat(*answers), OneAnswerSearch(found or []), toolbox=ScriptedToolbox(results or {}))


def ended(tape: Tape) -> RecordedRun:
    return recorded_run(tape, run_id="r1", agent_name="ContentAgent", agent_role="executor")


def played(tape: Tape) -> AgentTools:
    unpacked = Recording.unpacked(Recording(task_id="t1", attempt=1, runs=(ended(tape),)).packed())
    return Player(unpacked.runs).tools


@pytest.mark.parametrize("failure", [AgentOutputInvalid("no"), ModelRefused("no"), LlmQuotaExhausted("no")])
async def test_a_model_fails_again_in_the_same_way(failure: ExecutionError) -> None:
    tape = a_tape()
    recorded = tape.around(some_tools(failure))
    with pytest.raises(ExecutionError):
        await recorded.chat.complete(ModelRole.TEXT, ASKED)

    with pytest.raises(ExecutionError) as caught:
        await played(tape).chat.complete(ModelRole.TEXT, (Message("user", f"Hello {MASK}"),))

    assert (type(caught.value), caught.value.retryable) == (type(failure), failure.retryable)


@pytest.mark.parametrize("failure", [SearchUnavailable("no"), SearchRejected("no"), CircuitOpen("no")])
async def test_a_search_fails_again_in_the_same_way(failure: ExecutionError) -> None:
    tape = a_tape()
    recorded = tape.around(some_tools(found=failure))
    with pytest.raises(ExecutionError):
        await recorded.search.search("wind", max_results=3)

    with pytest.raises(ExecutionError) as caught:
        await played(tape).search.search("wind", max_results=3)

    assert type(caught.value) is type(failure)


async def test_a_tool_fails_again_and_says_the_same() -> None:
    tape = a_tape()
    recorded = tape.around(some_tools(results={"lookup": ToolFailed("lookup failed", output=f"no city, {SECRET}")}))
    with pytest.raises(ToolFailed):
        await recorded.toolbox.call("lookup", {"city": "Atlantis"})

    with pytest.raises(ToolFailed) as caught:
        await played(tape).toolbox.call("lookup", {"city": "Atlantis"})

    assert caught.value.output == f"no city, {MASK}"


async def test_that_a_tool_was_certainly_not_called_is_remembered() -> None:
    tape = a_tape()
    recorded = tape.around(some_tools(results={"lookup": ToolNotReached("away")}))
    with pytest.raises(ToolNotReached):
        await recorded.toolbox.call("lookup", {})

    with pytest.raises(ToolNotReached):
        await played(tape).toolbox.call("lookup", {})


async def test_no_secret_is_on_the_tape_whichever_way_it_came() -> None:
    tape = a_tape()
    found = [SearchResult(f"About {SECRET}", "https://example.com/a", f"Use {SECRET}.", "example.com")]
    recorded = tape.around(some_tools(f"It is {SECRET}", found=found, results={"lookup": {"key": [SECRET]}}))
    tape.begin(AgentRequest("t1", "s1", "acme", SECRET, feedback=SECRET, inputs={"code": SECRET}, history=ASKED))

    await recorded.chat.complete(ModelRole.CONTENT, ASKED)
    await recorded.search.search(SECRET, max_results=3)
    await recorded.toolbox.call("lookup", {"key": SECRET})
    tape.end(AgentOutput(SECRET, SECRET, data={"key": SECRET}))

    text = ended(tape).model_dump_json()
    assert SECRET not in text
    assert text.count(MASK) >= 12


async def test_half_a_character_from_outside_spoils_no_recording() -> None:
    tape = a_tape()
    found = [SearchResult(f"Half {HALF}", "https://example.com/a", HALF, "example.com")]
    recorded = tape.around(some_tools("Fine", found=found))
    await recorded.search.search("wind", max_results=3)
    await recorded.chat.complete(ModelRole.CONTENT, (Message("user", HALF),))

    assert [one.title for one in await played(tape).search.search("wind", max_results=3)] == ["Half ?"]


async def test_from_the_first_that_does_not_fit_nothing_is_kept_and_the_recording_says_so() -> None:
    by_calls, by_input, by_output = (Tape(100, str) for _ in range(3))
    recorded = by_calls.around(some_tools("short", "long" * 30, "short"))

    for _ in range(3):
        await recorded.chat.complete(ModelRole.CONTENT, (Message("user", "?"),))
    by_input.begin(AgentRequest("t1", "s1", "acme", "read it", inputs={"rows": [["x" * 60] * 2]}))
    await by_input.around(some_tools("short")).chat.complete(ModelRole.CONTENT, ASKED)
    by_output.end(AgentOutput("short", "y" * 101))

    assert [call.response for call in by_calls.calls] == ["short"]
    assert (ended(by_input).request, by_input.calls) == (RecordedRequest(text="read it", session_id="s1"), [])
    assert by_output.output is None
    assert all(ended(tape).is_cut for tape in (by_calls, by_input, by_output))
