"""Anthropic's Messages API, through langchain-anthropic."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import anthropic
import httpx2
from anthropic.types.shared.error_type import ErrorType
from langchain_anthropic import ChatAnthropic
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr, SecretStr

from app.llm.errors import ModelCallError
from app.llm.provider_errors import UNREADABLE, Call, Cause, from_status, timed_out, unreachable, unreadable
from app.llm.providers import Provider

# What breaks a stream off comes as the HTTP client's own error.
FAILURES = (anthropic.AnthropicError, httpx2.TransportError, *UNREADABLE)
MAX_TOKENS = "max_tokens"
# An error in the middle of a stream comes with the stream's own status, 200.
_STATUS: Mapping[ErrorType, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_CAUSES = {402: Cause.QUOTA, 413: Cause.CONTEXT}


class PooledAnthropic(ChatAnthropic):
    """langchain-anthropic 1.7 takes no HTTP client and keeps one per address; ours are shared and closed."""

    _http_client: httpx2.AsyncClient = PrivateAttr()

    def __init__(self, http_client: httpx2.AsyncClient, **options: Any) -> None:
        super().__init__(**options)
        self._http_client = http_client

    @cached_property
    def _async_client(self) -> anthropic.AsyncClient:
        return anthropic.AsyncClient(**self._client_params, http_client=self._http_client)


def create_client(
    provider: Provider,
    api_key: SecretStr,
    model: str,
    *,
    timeout: float,
    max_tokens: int,
    http_client: httpx2.AsyncClient,
) -> BaseChatModel:
    return PooledAnthropic(
        http_client,
        model=model,
        api_key=api_key,
        base_url=provider.base_url,
        timeout=timeout,
        max_tokens=max_tokens,
        max_retries=0,
    )


def asking_for(client: Any, schema: dict[str, Any]) -> Runnable[Any, Any]:
    method = structured_method(client.model, client.profile or {})
    asked: Runnable[Any, Any] = client.with_structured_output(schema, method=method, include_raw=True)
    return asked


def structured_method(model: str, profile: Mapping[str, Any]) -> Literal["function_calling", "json_schema"]:
    """Older models know only tools, and the newest do not let a tool be forced."""
    # Claude 3 is older than the profiles that langchain-anthropic ships.
    if profile.get("structured_output") is False or model.startswith("claude-3"):
        return "function_calling"
    return "json_schema"


def translate(error: Exception, call: Call, *, now: datetime) -> ModelCallError:
    match error:
        case anthropic.APITimeoutError() | httpx2.TimeoutException() | TimeoutError():
            return timed_out(call)
        case anthropic.APIStatusError():
            return _from_status(error, call, now)
        case anthropic.APIConnectionError() | httpx2.TransportError():
            return unreachable(call)
        case _:
            return unreadable(call)


def _from_status(error: anthropic.APIStatusError, call: Call, now: datetime) -> ModelCallError:
    status = error.status_code
    if status == 200:
        # What stands in a body may be anything.
        status = _STATUS.get(error.type, 500) if isinstance(error.type, str) else 500
    cause = Cause.CONTEXT if isinstance(error, ContextOverflowError) else _CAUSES.get(status)
    return from_status(status, error.response.headers, call, now=now, cause=cause)
