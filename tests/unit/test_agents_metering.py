import asyncio

import pytest

from app.agents.metering import Meter
from app.errors import CircuitOpen
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message
from app.llm.search import NoSearch
from app.llm.usage import ModelRole, TokenUsage
from tests.unit.test_agents_fakes import USAGE, FixedSearch, ScriptedChat

QUESTION = (Message("user", "hello"),)


async def test_usage_adds_up_per_model() -> None:
    meter = Meter()
    tools = meter.tools(ScriptedChat("fine"), NoSearch())

    await tools.chat.complete(ModelRole.CONTENT, QUESTION)
    await tools.chat.complete(ModelRole.CONTENT, QUESTION)
    await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert meter.models == ("content-model", "code-model")
    assert meter.usage_by_model["content-model"] == USAGE + USAGE
    assert meter.usage == TokenUsage(30, 15, 45)


async def test_a_failed_call_counts_what_it_was_billed() -> None:
    meter = Meter()
    tools = meter.tools(ScriptedChat(AgentOutputInvalid("no", usage=USAGE)), NoSearch())

    with pytest.raises(AgentOutputInvalid):
        await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert meter.usage == USAGE
    assert meter.model == "code-model"


async def test_a_cancelled_call_still_shows_which_model_it_asked() -> None:
    meter, silent = Meter(), ScriptedChat(None)
    tools = meter.tools(silent, NoSearch())
    call = asyncio.ensure_future(tools.chat.complete(ModelRole.CONTENT, QUESTION))
    await silent.was_asked.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call

    assert meter.models == ("content-model",)
    assert meter.usage == TokenUsage()


async def test_a_call_that_a_circuit_refused_was_none() -> None:
    meter = Meter()
    tools = meter.tools(ScriptedChat(CircuitOpen("down")), NoSearch())

    with pytest.raises(CircuitOpen):
        await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert (meter.calls, meter.models) == (0, ())


async def test_a_search_is_a_tool_only_where_there_is_one() -> None:
    with_search, without = Meter(), Meter()

    await with_search.tools(ScriptedChat(""), FixedSearch()).search.search("x", max_results=1)
    await without.tools(ScriptedChat(""), NoSearch()).search.search("x", max_results=1)

    assert with_search.tools_used == ("web_search",)
    assert without.tools_used == ()
    assert without.model is None
