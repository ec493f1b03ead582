"""Anthropic through its SDK, against a server that speaks the Messages API in this process."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from anthropic.types import Usage
from pydantic import BaseModel

from app.llm.chat import ChatModels, create_pool
from app.llm.errors import (
    AgentOutputInvalid,
    LlmAuth,
    LlmContextTooLong,
    LlmError,
    LlmQuotaExhausted,
    LlmRateLimited,
    LlmRejected,
    LlmTimeout,
    LlmUnavailable,
    ModelCallError,
    ModelRefused,
)
from app.llm.messages import Message
from app.llm.usage import ModelRole, TokenUsage
from app.settings import load_settings
from tests.fakes.anthropic import USAGE, AnthropicServer, Fails, Says

SECRET = "sk-ant-very-secret"
NEW, OLD = "claude-sonnet-5", "claude-haiku-4-5-20251001"
ASKED = (Message("system", "Be kind."), Message("user", "Hello"))
COUNTED = TokenUsage(prompt=105, completion=7, total=112, cached=90, cache_written=5)
WAIT = timedelta(seconds=7)
EVENTS = "text/event-stream"


def ignore(piece: str) -> None:
    """A listener to whom it is all the same."""


class Pet(BaseModel):
    """A pet."""

    name: str
    legs: int


@asynccontextmanager
async def talking_to(
    server: AnthropicServer | httpx2.AsyncBaseTransport, *, model: str = NEW, key: str | None = SECRET
) -> AsyncIterator[ChatModels]:
    transport = httpx2.ASGITransport(server.application) if isinstance(server, AnthropicServer) else server
    settings = load_settings(
        _env_file=None,
        anthropic_api_key=key,
        anthropic_base_url="http://anthropic.example.com",
        llm_peer_model=f"anthropic:{model}",
        llm_content_model=f"anthropic:{model}",
    )
    chat = ChatModels.from_settings(settings, http_client=create_pool(transport))
    try:
        yield chat
    finally:
        await chat.aclose()


async def test_a_completion_carries_text_model_and_usage_with_what_the_cache_did() -> None:
    server = AnthropicServer(Says("Good day."))

    async with talking_to(server) as chat:
        answer = await chat.complete(ModelRole.CONTENT, ASKED, max_tokens=99)

    assert (answer.text, answer.model, answer.usage) == ("Good day.", f"anthropic:{NEW}", COUNTED)
    [request] = server.requests
    assert (request["model"], request["system"], request["max_tokens"]) == (NEW, "Be kind.", 99)
    assert request["messages"] == [{"role": "user", "content": "Hello"}]
    assert server.headers["authorization"] == f"Bearer {SECRET}"


async def test_a_shape_is_asked_for_as_a_schema_where_the_model_knows_them() -> None:
    server = AnthropicServer(Says('{"name": "Rex", "legs": 4}'))

    async with talking_to(server) as chat:
        answer = await chat.structured(ModelRole.PEER, ASKED, Pet)

    assert (answer.value, answer.usage) == (Pet(name="Rex", legs=4), COUNTED)
    assert server.requests[0]["output_config"]["format"]["type"] == "json_schema"


async def test_a_shape_is_asked_for_as_a_tool_where_the_model_knows_only_those() -> None:
    server = AnthropicServer(Says(arguments={"name": "Rex", "legs": 4}))

    async with talking_to(server, model=OLD) as chat:
        answer = await chat.structured(ModelRole.PEER, ASKED, Pet)

    assert (answer.value, answer.usage) == (Pet(name="Rex", legs=4), COUNTED)
    assert server.requests[0]["tool_choice"]["type"] == "tool"


@pytest.mark.parametrize(
    ("model", "answer"),
    [(NEW, Says('{"name": "Rex"}')), (NEW, Says("no JSON")), (OLD, Says(arguments={"name": "Rex"}))],
)
async def test_an_answer_of_another_shape_is_invalid_and_counted(model: str, answer: Says) -> None:
    async with talking_to(AnthropicServer(answer), model=model) as chat:
        with pytest.raises(AgentOutputInvalid, match="not a Pet") as caught:
            await chat.structured(ModelRole.PEER, ASKED, Pet)

    assert caught.value.usage == COUNTED


@pytest.mark.parametrize("streams", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Says("Once upon a", stop_reason="max_tokens"), AgentOutputInvalid),
        (Says("I", stop_reason="refusal"), ModelRefused),
        (Says("Once", stop_reason="model_context_window_exceeded"), LlmContextTooLong),
        (Says(""), AgentOutputInvalid),
    ],
)
async def test_a_text_that_cannot_be_used_is_an_error_and_counted(
    answer: Says, error: type[ModelCallError], streams: bool
) -> None:
    async with talking_to(AnthropicServer(answer)) as chat:
        with pytest.raises(ModelCallError) as caught:
            await chat.complete(ModelRole.CONTENT, ASKED, on_token=ignore if streams else None)

    assert type(caught.value) is error
    assert caught.value.usage == COUNTED


async def test_a_text_in_pieces_is_the_same_with_the_same_usage() -> None:
    pieces: list[str] = []

    async with talking_to(AnthropicServer(Says("Good day to you."))) as chat:
        answer = await chat.complete(ModelRole.CONTENT, ASKED, on_token=pieces.append)

    assert len([piece for piece in pieces if piece]) == 4
    assert "".join(pieces) == answer.text == "Good day to you."
    assert answer.usage == COUNTED


async def test_thinking_counts_as_a_part_of_the_answer() -> None:
    thought = Usage.model_validate({**USAGE.model_dump(), "output_tokens_details": {"thinking_tokens": 3}})

    async with talking_to(AnthropicServer(Says("Yes.", usage=thought))) as chat:
        answer = await chat.complete(ModelRole.CONTENT, ASKED)

    assert (answer.usage.completion, answer.usage.reasoning) == (7, 3)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Says("Good day to you.", breaks_after=3, error="overloaded_error"), LlmUnavailable),
        (Says("Good day to you.", breaks_after=3, error="rate_limit_error"), LlmRateLimited),
        (Says("Good day to you.", breaks_after=3, error="api_error"), LlmUnavailable),
        (Says("Good day to you.", breaks_after=3), LlmUnavailable),
    ],
)
async def test_a_stream_that_breaks_off_gives_nothing(answer: Says, error: type[LlmError]) -> None:
    async with talking_to(AnthropicServer(answer)) as chat:
        with pytest.raises(LlmError) as caught:
            await chat.complete(ModelRole.CONTENT, ASKED, on_token=ignore)

    assert type(caught.value) is error


@pytest.mark.parametrize("structured", [False, True], ids=["text", "structured"])
@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (Fails(401, "authentication_error"), LlmAuth, "LLM_AUTH"),
        (Fails(403, "permission_error"), LlmAuth, "LLM_AUTH"),
        (Fails(402, "billing_error"), LlmQuotaExhausted, "LLM_RATE_LIMITED"),
        (Fails(404, "not_found_error"), LlmRejected, "LLM_ERROR"),
        (Fails(413, "request_too_large"), LlmContextTooLong, "CONTEXT_TOO_LONG"),
        (Fails(400, "invalid_request_error", "prompt is too long: 9 > 8"), LlmContextTooLong, "CONTEXT_TOO_LONG"),
        (Fails(400, "invalid_request_error"), LlmRejected, "LLM_ERROR"),
        (Fails(429, "rate_limit_error"), LlmRateLimited, "LLM_RATE_LIMITED"),
        (Fails(500, "api_error"), LlmUnavailable, "LLM_ERROR"),
        (Fails(529, "overloaded_error"), LlmUnavailable, "LLM_ERROR"),
    ],
    ids=lambda value: f"{value.status} {value.message}" if isinstance(value, Fails) else None,
)
async def test_each_failure_has_its_own_error_after_one_call(
    failure: Fails, error: type[ModelCallError], code: str, structured: bool
) -> None:
    server = AnthropicServer(failure)

    async with talking_to(server) as chat:
        with pytest.raises(ModelCallError) as caught:
            await (
                chat.structured(ModelRole.PEER, ASKED, Pet) if structured else chat.complete(ModelRole.CONTENT, ASKED)
            )

    assert (type(caught.value), caught.value.code) == (error, code)
    assert len(server.requests) == 1
    told = f"{caught.value} {dict(caught.value.details)}"
    assert not any(secret in told for secret in (SECRET, "Hello", "http://"))


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "7"},
        {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "RESET"},
    ],
    ids=["Retry-After", "reset"],
)
async def test_a_rate_limit_carries_the_wait(headers: dict[str, str]) -> None:
    server = AnthropicServer(Fails(429, "rate_limit_error", headers=headers))

    async with talking_to(server) as chat:
        headers |= {name: (chat._clock() + WAIT).isoformat() for name, value in headers.items() if value == "RESET"}
        with pytest.raises(LlmRateLimited) as caught:
            await chat.complete(ModelRole.CONTENT, ASKED)

    assert caught.value.retry_after is not None
    assert timedelta(seconds=6) < caught.value.retry_after <= WAIT


@pytest.mark.parametrize(
    ("failure", "error"),
    [(httpx2.ConnectError("refused"), LlmUnavailable), (httpx2.ReadTimeout("slow"), LlmTimeout)],
    ids=["refused", "slow"],
)
async def test_a_server_that_cannot_be_reached_is_worth_a_retry(failure: Exception, error: type[LlmError]) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise failure

    async with talking_to(httpx2.MockTransport(fail)) as chat:
        with pytest.raises(LlmError) as caught:
            await chat.complete(ModelRole.CONTENT, ASKED)

    assert type(caught.value) is error
    assert caught.value.retryable


@pytest.mark.parametrize("body", ["<html>", "{not json", "[]", '{"type": "message"}'])
async def test_an_answer_nobody_can_read_is_worth_a_retry(body: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=body, headers={"content-type": "application/json"})

    async with talking_to(httpx2.MockTransport(answer)) as chat:
        with pytest.raises(LlmUnavailable, match="cannot be read"):
            await chat.complete(ModelRole.CONTENT, ASKED)


@pytest.mark.parametrize("kind", [{"a": 1}, ["a"], 5, None], ids=repr)
async def test_an_error_within_a_stream_that_is_of_no_kind_is_worth_a_retry(kind: Any) -> None:
    event = json.dumps({"type": "error", "error": {"type": kind, "message": "no"}})

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=f"event: error\ndata: {event}\n\n", headers={"content-type": EVENTS})

    async with talking_to(httpx2.MockTransport(answer)) as chat:
        with pytest.raises(LlmUnavailable):
            await chat.complete(ModelRole.CONTENT, ASKED, on_token=ignore)


async def test_a_key_does_not_follow_a_redirect() -> None:
    asked: list[Any] = []

    def redirect(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(307, headers={"location": "http://elsewhere.example.com/v1/messages"})

    async with talking_to(httpx2.MockTransport(redirect)) as chat:
        with pytest.raises(LlmRejected):
            await chat.complete(ModelRole.CONTENT, ASKED)

    assert asked == ["anthropic.example.com"]


async def test_without_a_key_the_first_call_says_what_to_set() -> None:
    async with talking_to(AnthropicServer(Says("Hi")), key=None) as chat:
        with pytest.raises(LlmAuth, match="ANTHROPIC_API_KEY"):
            await chat.complete(ModelRole.CONTENT, ASKED)
