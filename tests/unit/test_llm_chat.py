"""The real client against the simulator, in one process: no socket, no network."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import httpx2
import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, SecretStr

from app.agents.routing import RoutingDecision
from app.llm.chat import ChatModels
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
from app.llm.provider_errors import Call
from app.llm.providers import Provider
from app.llm.simulator.application import Simulator, build_application
from app.llm.usage import NO_USAGE, ModelRole
from app.model_names import ModelRef
from app.settings import load_settings

SECRET = "sk-very-secret-key"


@asynccontextmanager
async def simulated(
    models: type[ChatModels] = ChatModels, *, key: str | None = SECRET, timeout: float = 5.0
) -> AsyncIterator[ChatModels]:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(build_application(Simulator())))
    chat = models(
        {"openai": a_provider(key)},
        dict.fromkeys(ModelRole, (ModelRef("openai", "gpt-4o-mini"),)),
        timeout=timedelta(seconds=timeout),
        max_tokens=2048,
        http_client=http,
    )
    try:
        yield chat
    finally:
        await chat.aclose()


def a_provider(key: str | None) -> Provider:
    secret = SecretStr(key) if key else None
    return Provider("openai", "http://simulator/v1", secret, "OPENAI_API_KEY", "OPENAI_BASE_URL")


def asking(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


async def test_a_completion_carries_text_model_and_usage() -> None:
    async with simulated() as chat:
        answer = await chat.complete(ModelRole.CONTENT, asking("Write about coffee"))

    assert "Simulated answer" in answer.text
    assert answer.model == "gpt-4o-mini"
    assert answer.usage.total == answer.usage.prompt + answer.usage.completion > 0


async def test_a_structured_answer_is_validated() -> None:
    class Pet(BaseModel):
        """A pet."""

        name: str
        legs: int

    async with simulated() as chat:
        answer = await chat.structured(ModelRole.PEER, asking("A pet, please"), Pet)

    assert answer.value == Pet(name="simulated", legs=0)
    assert answer.usage.total > 0


async def test_an_answer_longer_than_asked_for_is_invalid_and_counted() -> None:
    async with simulated() as chat:
        with pytest.raises(AgentOutputInvalid, match="cut off") as caught:
            await chat.complete(ModelRole.CONTENT, asking("Write about coffee"), max_tokens=16)

    assert caught.value.usage.completion == 16


async def test_an_answer_of_another_shape_is_invalid_and_counted() -> None:
    async with simulated() as chat:
        with pytest.raises(AgentOutputInvalid, match="agent_name") as caught:
            await chat.structured(ModelRole.PEER, asking("x [[sim schema]]"), RoutingDecision)

    assert caught.value.usage.total > 0


async def test_a_structured_answer_that_was_cut_off_is_invalid_and_counted() -> None:
    async with simulated() as chat:
        with pytest.raises(AgentOutputInvalid, match="cut off") as caught:
            await chat.structured(ModelRole.PEER, asking("x [[sim length]]"), RoutingDecision)

    assert caught.value.usage.total > 0


async def test_a_wrong_shape_is_told_by_its_fields_and_reasons_and_never_by_what_was_in_them() -> None:
    class Order(BaseModel):
        """An order."""

        legs: list[int]
        kind: Literal["a", "b"]

    class Wrong(ChatModels):
        async def _ask(self, call: Call, answer: Any) -> Any:
            answer.close()
            wrong = {"legs": ["secret"] * 50, "kind": "top secret"}
            return {"raw": AIMessage(json.dumps(wrong))}

    async with simulated(Wrong) as chat:
        with pytest.raises(AgentOutputInvalid) as caught:
            await chat.structured(ModelRole.PEER, asking("x"), Order)

    assert "legs.0: Input should be a valid integer" in caught.value.message
    assert "and 46 more" in caught.value.message
    assert len(caught.value.message) < 700
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("structured", [False, True], ids=["text", "structured"])
@pytest.mark.parametrize(
    ("fault", "error", "code", "retryable"),
    [
        ("error=500", LlmUnavailable, "LLM_ERROR", True),
        ("error=529", LlmUnavailable, "LLM_ERROR", True),
        ("malformed", LlmUnavailable, "LLM_ERROR", True),
        ("nochoices", LlmUnavailable, "LLM_ERROR", True),
        ("error=408", LlmError, "LLM_ERROR", True),
        ("error=429 retry_after=7", LlmRateLimited, "LLM_RATE_LIMITED", True),
        ("error=quota", LlmQuotaExhausted, "LLM_RATE_LIMITED", False),
        ("error=401", LlmAuth, "LLM_AUTH", False),
        ("error=403", LlmAuth, "LLM_AUTH", False),
        ("error=400", LlmRejected, "LLM_ERROR", False),
        ("error=context", LlmContextTooLong, "CONTEXT_TOO_LONG", False),
        ("error=404", LlmRejected, "LLM_ERROR", False),
        ("error=422", LlmRejected, "LLM_ERROR", False),
        ("empty", AgentOutputInvalid, "AGENT_OUTPUT_INVALID", True),
        ("refuse", ModelRefused, "AGENT_OUTPUT_INVALID", False),
        ("length", AgentOutputInvalid, "AGENT_OUTPUT_INVALID", True),
    ],
)
async def test_each_failure_of_a_provider_has_its_own_error(
    fault: str, error: type[ModelCallError], code: str, retryable: bool, structured: bool
) -> None:
    async with simulated() as chat:
        with pytest.raises(ModelCallError) as caught:
            await ask(chat, f"Top secret prompt [[sim {fault}]]", structured=structured)

    assert type(caught.value) is error
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert caught.value.details["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("fault", ["error=500", "error=401", "malformed", "refuse", "schema", "hang", "error=404"])
async def test_no_error_tells_the_prompt_the_key_or_the_address(fault: str) -> None:
    async with simulated(timeout=0.2) as chat:
        with pytest.raises(ModelCallError) as caught:
            await ask(chat, f"Top secret prompt [[sim {fault}]]", structured=True)

    told = f"{caught.value} {dict(caught.value.details)}"
    assert not any(secret in told for secret in ("Top secret", SECRET, "http://"))


async def test_the_providers_wait_reaches_the_kernel() -> None:
    async with simulated() as chat:
        with pytest.raises(LlmRateLimited) as caught:
            await chat.complete(ModelRole.CODE, asking("x [[sim error=429 retry_after=1.5]]"))

    assert caught.value.retry_after == timedelta(seconds=1.5)
    assert caught.value.__cause__ is not None


async def test_a_provider_that_never_answers_times_out() -> None:
    async with simulated(timeout=0.1) as chat:
        with pytest.raises(LlmTimeout) as caught:
            await chat.complete(ModelRole.CONTENT, asking("x [[sim hang]]"))

    assert (caught.value.code, caught.value.retryable, caught.value.usage) == ("TIMEOUT", True, NO_USAGE)


async def test_a_provider_that_cannot_be_reached_is_worth_a_retry() -> None:
    class Down(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise httpx2.ConnectError("refused", request=request)

    settings = load_settings(_env_file=None, openai_api_key=SECRET)
    chat = ChatModels.from_settings(settings, http_client=httpx2.AsyncClient(transport=Down()))

    with pytest.raises(LlmError, match="OPENAI_BASE_URL") as caught:
        await chat.complete(ModelRole.CONTENT, asking("x"))
    await chat.aclose()

    assert caught.value.retryable


async def test_without_a_key_the_first_call_says_what_to_set() -> None:
    async with simulated(key=None) as chat:
        with pytest.raises(LlmAuth, match="OPENAI_API_KEY"):
            await chat.complete(ModelRole.CONTENT, asking("x"))


async def test_a_failed_call_is_made_once() -> None:
    simulator = Simulator()
    calls: list[Any] = []

    class Counting(httpx2.ASGITransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            calls.append(request)
            return await super().handle_async_request(request)

    settings = load_settings(_env_file=None, openai_api_key=SECRET, openai_base_url="http://simulator/v1")
    http = httpx2.AsyncClient(transport=Counting(build_application(simulator)))
    chat = ChatModels.from_settings(settings, http_client=http)

    with pytest.raises(LlmError):
        await chat.complete(ModelRole.CONTENT, asking("x [[sim error=500]]"))
    await chat.aclose()

    assert len(calls) == 1


async def ask(chat: ChatModels, text: str, *, structured: bool) -> None:
    if structured:
        await chat.structured(ModelRole.PEER, asking(text), RoutingDecision)
    else:
        await chat.complete(ModelRole.CONTENT, asking(text))
