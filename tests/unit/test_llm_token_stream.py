"""Answers in pieces, from a provider on a real socket through the real client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.llm.chat import POOLS, ChatModels
from app.llm.errors import AgentOutputInvalid, LlmTimeout, LlmUnavailable, ModelCallError, ModelRefused
from app.llm.messages import Completion, Message
from app.llm.usage import ModelRole
from app.settings import load_settings
from tests.fakes.streaming_provider import Call, StreamingProvider, streaming_provider

QUESTION = (Message("user", "Tell me"),)


@pytest.fixture
async def provider() -> AsyncIterator[StreamingProvider]:
    async with streaming_provider() as started:
        yield started


@asynccontextmanager
async def a_chat(provider: StreamingProvider, *, timeout: float = 10.0) -> AsyncIterator[ChatModels]:
    settings = load_settings(
        _env_file=None, openai_api_key="some-key", openai_base_url=provider.url, llm_timeout_sec=timeout
    )
    chat = ChatModels.from_settings(settings)
    try:
        yield chat
    finally:
        await chat.aclose()


async def ask(
    provider: StreamingProvider,
    answer: Callable[[Call], Awaitable[None]],
    pieces: list[str],
    *,
    timeout: float = 10.0,
    max_tokens: int | None = None,
) -> Completion:
    async with a_chat(provider, timeout=timeout) as chat:
        asking = asyncio.create_task(
            chat.complete(ModelRole.CONTENT, QUESTION, max_tokens=max_tokens, on_token=pieces.append)
        )
        await answer(await provider.next_call())
        return await asking


async def test_pieces_are_handed_over_before_the_answer_is_whole(provider: StreamingProvider) -> None:
    arrived: asyncio.Queue[str] = asyncio.Queue()

    async with a_chat(provider) as chat:
        asking = asyncio.create_task(chat.complete(ModelRole.CONTENT, QUESTION, on_token=arrived.put_nowait))
        call = await provider.next_call()
        begun = await arrived.get()
        await call.say("Once ")
        first = await arrived.get()
        assert not asking.done()
        await call.say("upon")
        await call.finish()
        answer = await asking

    assert (begun, first) == ("", "Once ")
    assert answer.text == "Once upon"
    assert (answer.usage.prompt, answer.usage.completion, answer.usage.total) == (7, 5, 12)


async def test_the_provider_is_asked_to_stream_and_to_tell_the_usage(provider: StreamingProvider) -> None:
    asked = []

    async def answer(call: Call) -> None:
        asked.append(call.request)
        await call.say("x")
        await call.finish()

    await ask(provider, answer, [], max_tokens=99)

    assert asked[0]["stream"] is True
    assert asked[0]["stream_options"] == {"include_usage": True}
    assert asked[0]["max_completion_tokens"] == 99
    assert asked[0]["messages"] == [{"role": "user", "content": "Tell me"}]


async def test_text_arrives_as_it_was_written_however_it_is_cut_on_the_way(provider: StreamingProvider) -> None:
    pieces: list[str] = []
    # What ends a line for Python but not in an event stream, and a character of four bytes.
    text = "a\u2028b\u0085c\U0001f600d\x0ce"

    async def answer(call: Call) -> None:
        whole = f'data: {{"model": "m", "choices": [{{"index": 0, "delta": {{"content": "{text}"}}}}]}}\r\n\r\n'
        for byte in whole.replace("\x0c", "\\f").encode():
            await call.send(bytes([byte]))
        await call.finish()

    answered = await ask(provider, answer, pieces)

    assert answered.text == text
    assert pieces == ["", text]


async def breaks_off(call: Call) -> None:
    await call.say("half of ")
    call.drop()


async def ends_without_a_reason(call: Call) -> None:
    await call.say("half of ")
    await call.finish(reason=None)


async def reports_an_error(call: Call) -> None:
    await call.say("half of ")
    await call.send_chunk({"error": {"message": "secret trouble", "code": 500}})
    await call.finish()


async def sends_garbage(call: Call) -> None:
    await call.send(b"data: <html>secret trouble</html>\n\n")
    await call.finish()


async def sends_an_endless_line(call: Call) -> None:
    for _ in range(40):
        await call.send(b"x" * 32 * 1024)
    await call.finish()


@pytest.mark.parametrize(
    "answer", [breaks_off, ends_without_a_reason, reports_an_error, sends_garbage, sends_an_endless_line]
)
async def test_an_answer_that_breaks_off_is_an_outage_worth_a_retry(
    provider: StreamingProvider, answer: Callable[[Call], Awaitable[None]]
) -> None:
    with pytest.raises(LlmUnavailable) as caught:
        await ask(provider, answer, [])

    assert (caught.value.code, caught.value.retryable) == ("LLM_ERROR", True)
    assert "secret" not in str(caught.value)
    assert caught.value.details["model"]


async def test_an_answer_that_stops_in_the_middle_times_out(provider: StreamingProvider) -> None:
    pieces: list[str] = []

    async def answer(call: Call) -> None:
        await call.say("half of ")

    with pytest.raises(LlmTimeout):
        await ask(provider, answer, pieces, timeout=0.2)

    assert pieces == ["", "half of "]


@pytest.mark.parametrize(
    ("reason", "text", "error"),
    [
        ("length", "half of ", AgentOutputInvalid),
        ("content_filter", "half of ", ModelRefused),
        ("stop", " ", AgentOutputInvalid),
    ],
)
async def test_an_unusable_answer_is_refused_as_without_streaming_and_its_usage_is_known(
    provider: StreamingProvider, reason: str, text: str, error: type[ModelCallError]
) -> None:
    async def answer(call: Call) -> None:
        await call.say(text)
        await call.finish(reason=reason)

    with pytest.raises(error) as caught:
        await ask(provider, answer, [])

    assert caught.value.usage.total == 12


async def test_the_next_call_uses_the_same_connection(provider: StreamingProvider) -> None:
    connections = set()

    async with a_chat(provider) as chat:
        # As many calls as there are pools, and one more.
        for _ in range(POOLS + 1):
            asking = asyncio.create_task(chat.complete(ModelRole.CONTENT, QUESTION, on_token=lambda _: None))
            call = await provider.next_call()
            connections.add(call.connection)
            await call.say("x")
            await call.finish()
            await asking

    assert len(connections) == POOLS


async def test_a_refusal_in_pieces_is_one(provider: StreamingProvider) -> None:
    async def answer(call: Call) -> None:
        for piece in ("I can", "not"):
            await call.send_chunk({"choices": [{"index": 0, "delta": {"refusal": piece}}]})
        await call.finish()

    with pytest.raises(ModelRefused):
        await ask(provider, answer, [])


async def test_a_provider_that_tells_no_usage_is_still_an_answer(provider: StreamingProvider) -> None:
    async def answer(call: Call) -> None:
        await call.say("all of it")
        await call.finish(usage=None)

    assert (await ask(provider, answer, [])).usage.total == 0
