"""The simulator's wire format, as the clients of real providers read it: over HTTP, nothing faked on their side."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from app.llm.chat import create_pool
from tests.processes import Server

MODEL = "gpt-4o-mini"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


class Animal(BaseModel):
    name: str
    legs: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def client(simulator: Server) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="any", base_url=f"{simulator.http_url}/v1", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def model(simulator: Server) -> AsyncIterator[ChatOpenAI]:
    pool = create_pool()
    yield ChatOpenAI(
        model=MODEL,
        api_key=lambda: "any",
        base_url=f"{simulator.http_url}/v1",
        max_retries=0,
        stream_usage=True,
        http_async_client=pool,
        http_socket_options=(),
    )
    await pool.aclose()


async def test_an_answer_has_text_reason_and_usage(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=said("Write about tea"))

    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason == "stop"
    assert "Tea" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details is not None


async def test_an_answer_that_may_not_be_longer_ends_with_length(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=MODEL, messages=said("Write about tea"), max_completion_tokens=3
    )

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_the_last_chunk_of_a_stream_has_the_usage_and_no_choice(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=said("Write about tea"))
    stream = await client.chat.completions.create(
        model=MODEL, messages=said("Write about tea"), stream=True, stream_options={"include_usage": True}
    )

    chunks: list[ChatCompletionChunk] = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert (chunks[-1].choices, chunks[-2].choices[0].finish_reason) == ([], "stop")
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ('Please call weather {"city": "Oslo"}', [("weather", '{"city": "Oslo"}')]),
        ("Use the weather tool, please", [("weather", '{"city": "simulated"}')]),
        ('call `clock`, then call weather with {"city": "Rome"}', [("clock", "{}"), ("weather", '{"city": "Rome"}')]),
        ("Tell me of the weather", []),
        ("call weatherman", []),
    ],
)
async def test_a_tool_is_called_when_the_message_names_it(
    client: AsyncOpenAI, text: str, called: list[tuple[str, str]]
) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=said(text), tools=[WEATHER, CLOCK])

    calls: Any = answer.choices[0].message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == called
    assert answer.choices[0].finish_reason == ("tool_calls" if called else "stop")
    assert len({call.id for call in calls}) == len(called)


@pytest.mark.parametrize(
    ("options", "called", "reason"),
    [
        ({"tool_choice": "required"}, 2, "tool_calls"),
        ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, 1, "stop"),
        ({"tool_choice": "none"}, 0, "stop"),
        ({"parallel_tool_calls": False}, 1, "tool_calls"),
        ({}, 2, "tool_calls"),
    ],
    ids=str,
)
async def test_the_request_rules_how_many_tools_are_called(
    client: AsyncOpenAI, options: dict[str, Any], called: int, reason: str
) -> None:
    answer = await client.chat.completions.create(
        model=MODEL, messages=said("call weather and call clock"), tools=[WEATHER, CLOCK], **options
    )

    assert len(answer.choices[0].message.tool_calls or []) == called
    assert answer.choices[0].finish_reason == reason


async def test_a_required_tool_is_called_though_nobody_names_it(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=MODEL, messages=said("hello"), tools=[CLOCK, WEATHER], tool_choice="required"
    )

    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "clock"


async def test_a_streamed_tool_call_is_put_together_by_the_client(client: AsyncOpenAI) -> None:
    asked = said('call clock and call weather {"city": "Llanfairpwllgwyngyll, Anglesey"}')
    async with client.chat.completions.stream(model=MODEL, messages=asked, tools=[WEATHER, CLOCK]) as stream:
        pieces = [
            event.arguments_delta async for event in stream if event.type == "tool_calls.function.arguments.delta"
        ]
        answer = await stream.get_final_completion()

    calls: Any = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["clock", "weather"]
    assert calls[1].function.arguments == '{"city": "Llanfairpwllgwyngyll, Anglesey"}'
    assert len(pieces) > 2
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_langchain_calls_a_tool_and_gets_an_answer_to_its_result(model: ChatOpenAI) -> None:
    armed = model.bind_tools([weather])
    question = ("user", 'call weather {"city": "Oslo"}')

    calling = await armed.ainvoke([question])
    result = await weather.ainvoke(calling.tool_calls[0])
    answer = await armed.ainvoke([question, calling, result])

    assert calling.tool_calls[0]["args"] == {"city": "Oslo"}
    assert answer.tool_calls == []
    assert "> rain in Oslo" in str(answer.text)


async def test_langchain_adds_up_a_streamed_tool_call_with_its_usage(model: ChatOpenAI) -> None:
    whole: Any = None
    async for piece in model.bind_tools([weather]).astream('call weather {"city": "Oslo"}'):
        whole = piece if whole is None else whole + piece

    assert whole.tool_calls[0]["args"] == {"city": "Oslo"}
    assert whole.usage_metadata["total_tokens"] > 0


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_langchain_gets_the_shape_it_asks_for(model: ChatOpenAI, method: Any) -> None:
    animal = await model.with_structured_output(Animal, method=method).ainvoke("Which animal?")

    assert isinstance(animal, Animal)


@pytest.mark.parametrize(
    ("directive", "error", "code"),
    [
        ("error=400", openai.BadRequestError, None),
        ("error=context", openai.BadRequestError, "context_length_exceeded"),
        ("error=401", openai.AuthenticationError, "invalid_api_key"),
        ("error=403", openai.PermissionDeniedError, "unsupported_country_region_territory"),
        ("error=404", openai.NotFoundError, "model_not_found"),
        ("error=429", openai.RateLimitError, "rate_limit_exceeded"),
        ("error=quota", openai.RateLimitError, "insufficient_quota"),
        ("error=500", openai.InternalServerError, None),
        ("error=503", openai.InternalServerError, None),
        ("drop", openai.APIConnectionError, None),
    ],
)
async def test_the_client_knows_every_error(
    client: AsyncOpenAI, directive: str, error: type[openai.APIError], code: str | None
) -> None:
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model=MODEL, messages=said(f"Write [[sim {directive}]]"))

    assert caught.value.code == code


async def test_a_rate_limit_tells_the_wait_in_its_headers(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model=MODEL, messages=said("x [[sim error=429 retry_after=1.5]]"))

    headers = caught.value.response.headers
    assert headers["retry-after"] == "1.5"
    assert (headers["x-ratelimit-remaining-requests"], headers["x-ratelimit-reset-requests"]) == ("0", "1500ms")


async def test_the_client_itself_waits_and_asks_again(simulator: Server) -> None:
    async with AsyncOpenAI(api_key="any", base_url=f"{simulator.http_url}/v1", max_retries=2) as patient:
        answer = await patient.chat.completions.create(
            model=MODEL, messages=said("Write about patience [[sim flaky=1 error=429 retry_after=0.1]]")
        )

    assert answer.choices[0].finish_reason == "stop"


async def test_a_key_that_begins_with_invalid_is_a_wrong_one(simulator: Server) -> None:
    async with AsyncOpenAI(api_key="invalid-key", base_url=f"{simulator.http_url}/v1", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model=MODEL, messages=said("hi"))
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_models_are_listed_and_each_can_be_asked_for(client: AsyncOpenAI) -> None:
    listed = [listed.id async for listed in client.models.list()]

    assert MODEL in listed
    assert (await client.models.retrieve("acme/own-model")).id == "acme/own-model"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": [{"type": "function"}]},
        {"tools": "all"},
        {"messages": [{"role": "user", "content": ["text"]}]},
        {"n": 2},
        {"max_completion_tokens": "many"},
        {"response_format": "json"},
        {"tool_choice": {"type": "function"}, "tools": [CLOCK]},
    ],
    ids=str,
)
async def test_a_request_that_a_provider_would_refuse_is_refused(client: AsyncOpenAI, wrong: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.post("/chat/completions", body={"model": MODEL, "messages": said("x"), **wrong}, cast_to=object)
