"""Azure OpenAI and named endpoints through the SDK, against a server of OpenAI's protocol in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from app.errors import Invalid
from app.llm.chat import ChatModels, create_pool
from app.llm.errors import LlmAuth, LlmContextTooLong, LlmRateLimited, LlmRejected, ModelCallError, ModelRefused
from app.llm.messages import Message
from app.llm.usage import ModelRole, TokenUsage
from app.model_names import ModelRef
from app.settings import load_settings
from tests.fakes.openai import OpenAiServer

SECRET = "sk-very-secret"
ASKED = (Message("user", "Hello"),)
COUNTED = TokenUsage(prompt=100, completion=20, total=120, cached=90, reasoning=12)
AZURE = {
    "azure_openai_api_key": SECRET,
    "azure_openai_endpoint": "https://mine.openai.example.com/",
    "azure_openai_api_version": "2025-04-01-preview",
}


class Pet(BaseModel):
    """A pet."""

    name: str


@asynccontextmanager
async def talking_to(server: OpenAiServer, model: str, **given: Any) -> AsyncIterator[ChatModels]:
    chains = dict.fromkeys(("llm_peer_model", "llm_content_model", "llm_code_model"), model)
    settings = load_settings(_env_file=None, **chains, **given)
    transport = httpx2.ASGITransport(server.application)
    chat = ChatModels.from_settings(settings, http_client=create_pool(transport))
    try:
        yield chat
    finally:
        await chat.aclose()


@pytest.mark.parametrize("own_limit", [99, None], ids=["own limit", "default"])
async def test_azure_is_asked_for_the_deployment_in_its_version_with_its_key(own_limit: int | None) -> None:
    server = OpenAiServer()

    async with talking_to(server, "azure:our-deployment", **AZURE) as chat:
        answer = await chat.complete(ModelRole.CONTENT, ASKED, max_tokens=own_limit)

    assert (answer.text, answer.model, answer.usage) == ("Good day.", "azure:our-deployment", COUNTED)
    [request] = server.requests
    assert request.url.hostname == "mine.openai.example.com"
    assert request.url.path == "/openai/deployments/our-deployment/chat/completions"
    assert request.query_params["api-version"] == "2025-04-01-preview"
    assert request.headers["api-key"] == SECRET
    assert server.bodies[0]["max_completion_tokens"] == (own_limit or 2048)
    assert "max_tokens" not in server.bodies[0]


async def test_azure_is_asked_for_shapes_as_well() -> None:
    server = OpenAiServer('{"name": "Rex"}')

    async with talking_to(server, "azure:our-deployment", **AZURE) as chat:
        answer = await chat.structured(ModelRole.PEER, ASKED, Pet)

    assert (answer.value, answer.usage) == (Pet(name="Rex"), COUNTED)
    assert server.bodies[0]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "content_filter", ModelRefused),
        (400, "context_length_exceeded", LlmContextTooLong),
        (401, "401", LlmAuth),
        (404, "DeploymentNotFound", LlmRejected),
    ],
)
async def test_what_azure_refuses_has_its_own_error(status: int, code: str, error: type[ModelCallError]) -> None:
    async with talking_to(OpenAiServer(error=(status, code)), "azure:our-deployment", **AZURE) as chat:
        with pytest.raises(ModelCallError) as caught:
            await chat.complete(ModelRole.CONTENT, ASKED)

    assert type(caught.value) is error
    if error is LlmAuth:
        assert "AZURE_OPENAI_API_KEY" in caught.value.message
    assert SECRET not in f"{caught.value} {dict(caught.value.details)}"


async def test_azure_without_a_key_says_what_to_set() -> None:
    without = {**AZURE, "azure_openai_api_key": None}

    async with talking_to(OpenAiServer(), "azure:our-deployment", **without) as chat:
        with pytest.raises(LlmAuth, match="AZURE_OPENAI_API_KEY"):
            await chat.complete(ModelRole.CONTENT, ASKED)


@pytest.mark.parametrize(("key", "sent"), [({"api_key": SECRET}, SECRET), ({}, "none")], ids=["key", "no key"])
async def test_a_named_endpoint_is_asked_at_its_address_with_its_key(key: dict[str, str], sent: str) -> None:
    server = OpenAiServer()
    endpoints = {"local": {"base_url": "http://llama.example.com/v1/", **key}}

    async with talking_to(server, "local:llama3.2:3b", llm_endpoints=endpoints, openai_api_key="sk-other") as chat:
        answer = await chat.complete(ModelRole.CODE, ASKED)

    assert (answer.model, answer.usage) == ("local:llama3.2:3b", COUNTED)
    [request] = server.requests
    assert str(request.url) == "http://llama.example.com/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {sent}"
    assert server.bodies[0]["model"] == "llama3.2:3b"


async def test_when_openais_allowance_is_filled_again_is_read_from_its_headers() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "1h0m0s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6s500ms",
    }
    server = OpenAiServer(error=(429, "rate_limit_exceeded"), headers=headers)

    async with talking_to(server, "gpt-4o", openai_api_key=SECRET) as chat:
        with pytest.raises(LlmRateLimited) as caught:
            await chat.complete(ModelRole.CONTENT, ASKED)

    assert caught.value.retry_after == timedelta(seconds=6.5)
    assert len(server.requests) == 1


async def test_a_model_of_nobody_is_invalid() -> None:
    async with talking_to(OpenAiServer(), "gpt-4o", openai_api_key=SECRET) as chat:
        with pytest.raises(Invalid, match="openai, anthropic"):
            await chat.complete(ModelRef("nobody", "x"), ASKED)
