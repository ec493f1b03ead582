import asyncio
from decimal import Decimal

import pytest

from app.agents.metering import Meter, ModelUse
from app.agents.prompt import Prompt
from app.errors import CircuitOpen
from app.llm.errors import AgentOutputInvalid, LlmTimeout
from app.llm.messages import Message
from app.llm.prices import Prices
from app.llm.search import NoSearch
from app.llm.usage import ModelRole, TokenUsage
from app.model_names import ModelRef
from app.model_settings import ModelPrice
from tests.fakes.agents import USAGE, FixedSearch, SteadyChat

QUESTION = (Message("user", "hello"),)


async def test_usage_adds_up_per_model() -> None:
    meter = Meter()
    tools = meter.tools(SteadyChat("fine"), NoSearch())

    await tools.chat.complete(ModelRole.CONTENT, QUESTION)
    await tools.chat.complete(ModelRole.CONTENT, QUESTION)
    await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert meter.models == ("content-model", "code-model")
    assert meter.usage_by_model["content-model"] == USAGE + USAGE
    assert meter.usage == TokenUsage(30, 15, 45)


async def test_a_failed_call_counts_what_it_was_billed() -> None:
    meter = Meter()
    tools = meter.tools(SteadyChat(AgentOutputInvalid("no", usage=USAGE)), NoSearch())

    with pytest.raises(AgentOutputInvalid):
        await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert meter.usage == USAGE
    assert meter.model == "code-model"


async def test_a_cancelled_call_still_shows_which_model_it_asked() -> None:
    meter, silent = Meter(), SteadyChat(None)
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
    tools = meter.tools(SteadyChat(CircuitOpen("down")), NoSearch())

    with pytest.raises(CircuitOpen):
        await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert (meter.calls, meter.models) == (0, ())


async def test_a_search_is_a_tool_only_where_there_is_one() -> None:
    with_search, without = Meter(), Meter()

    await with_search.tools(SteadyChat(""), FixedSearch()).search.search("x", max_results=1)
    await without.tools(SteadyChat(""), NoSearch()).search.search("x", max_results=1)

    assert with_search.tools_used == ("web_search",)
    assert without.tools_used == ()
    assert without.model is None


async def test_a_model_that_was_not_asked_is_named_with_the_reason() -> None:
    meter = Meter()
    tools = meter.tools(SteadyChat(CircuitOpen("down")), NoSearch())

    with pytest.raises(CircuitOpen):
        await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert meter.uses == {"code-model": ModelUse(last_error="CIRCUIT_OPEN")}
    assert meter.model is None


async def test_a_failed_call_is_counted_as_one_with_its_reason() -> None:
    meter = Meter()
    tools = meter.tools(SteadyChat(LlmTimeout("slow")), NoSearch())

    with pytest.raises(LlmTimeout):
        await tools.chat.complete(ModelRole.CODE, QUESTION)

    assert meter.uses == {"code-model": ModelUse(calls=1, failures=1, last_error="TIMEOUT")}


async def test_calls_without_a_known_price_are_counted_and_those_that_were_not_billed_are_none_of_them() -> None:
    meter = Meter()
    meter.record_call("gpt-4o-mini", USAGE)
    meter.record_call("local:llama", USAGE)
    meter.record_call("local:llama", TokenUsage(), error="TIMEOUT")

    assert meter.unpriced_calls == 1
    assert meter.usd > 0


async def test_a_configured_price_is_what_a_run_costs() -> None:
    price = ModelPrice(input_per_million=Decimal(1_000_000), output_per_million=Decimal(0))
    meter = Meter(prices=Prices({ModelRef("local", "llama"): price}))
    meter.record_call("local:llama", USAGE)

    assert (meter.unpriced_calls, meter.usd) == (0, USAGE.prompt)


async def test_the_prompts_of_a_run_are_known_by_name_and_version() -> None:
    meter, prompt = Meter(), Prompt("Say $what.", "greeting")
    tools = meter.tools(SteadyChat("Hi"), NoSearch())

    await tools.chat.complete(ModelRole.CODE, (Message("system", prompt.render(what="hi")), *QUESTION))

    assert meter.prompts == {"greeting": prompt.digest}


def test_what_a_killed_attempt_had_counted_goes_on_in_the_next() -> None:
    killed, meter = Meter(), Meter()
    killed.record_call("gpt-4o-mini", TokenUsage(10, 5, 15, cached=8, reasoning=2))
    killed.record_call("local:llama", TokenUsage(), error="TIMEOUT")
    killed.record_call("local:llama", USAGE)
    killed.record_prompts([Message("user", Prompt("Say $what.", "greeting").render(what="hi"))])

    meter.carry(killed.as_document())

    assert meter.as_document() == killed.as_document()
    assert meter.usage_by_model == killed.usage_by_model
    assert meter.unpriced_calls == 1


def test_what_an_older_version_saved_is_understood() -> None:
    meter = Meter()

    meter.carry(
        {"models": [{"model": "gpt-4o-mini", "prompt": 10, "completion": 5, "total": 15}], "calls": 2, "tools": []}
    )

    assert (meter.calls, meter.usage) == (2, USAGE)
