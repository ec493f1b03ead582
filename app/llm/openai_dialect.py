"""OpenAI, Azure OpenAI and whatever else speaks OpenAI's protocol, through langchain-openai."""

from datetime import datetime
from typing import Any

import httpx2
import openai
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from openai.types.completion_usage import CompletionUsage
from pydantic import SecretStr

from app.llm.errors import ModelCallError, ModelRefused
from app.llm.provider_errors import (
    UNREADABLE,
    Call,
    Cause,
    cut_off,
    from_status,
    timed_out,
    unreachable,
    unreadable,
)
from app.llm.providers import Provider
from app.llm.usage import NO_USAGE, TokenUsage
from app.model_names import AZURE

FAILURES = (openai.OpenAIError, *UNREADABLE)
# For Azure langchain-openai 1.7 does not translate the older name, and two limits are refused.
MAX_TOKENS = "max_completion_tokens"
_CAUSES = {"insufficient_quota": Cause.QUOTA, "context_length_exceeded": Cause.CONTEXT}


def create_client(
    provider: Provider,
    api_key: SecretStr,
    model: str,
    *,
    timeout: float,
    max_tokens: int,
    http_client: httpx2.AsyncClient,
) -> BaseChatModel:
    options: dict[str, Any] = {
        "model": model,
        "api_key": api_key,
        "timeout": timeout,
        "max_tokens": max_tokens,
        "max_retries": 0,
        "stream_usage": True,
        "use_responses_api": False,
        "http_async_client": http_client,
        # Ours is the client; left to its default, the library warns about a transport it then does not use.
        "http_socket_options": (),
    }
    if provider.name == AZURE:
        return AzureChatOpenAI(
            azure_endpoint=provider.base_url, api_version=provider.api_version, azure_deployment=model, **options
        )
    return ChatOpenAI(base_url=provider.base_url, **options)


def asking_for(client: Any, schema: dict[str, Any]) -> Runnable[Any, Any]:
    # A dict schema, not the class: with the class a mismatch raises inside the SDK and the usage is lost.
    asked: Runnable[Any, Any] = client.with_structured_output(
        schema, method="json_schema", include_raw=True, strict=True
    )
    return asked


def translate(error: Exception, call: Call, *, now: datetime) -> ModelCallError:
    match error:
        case openai.LengthFinishReasonError():
            return cut_off(call, _usage_of(error.completion.usage))
        case openai.ContentFilterFinishReasonError():
            return ModelRefused("the provider's content filter stopped the answer", model=call.name)
        case openai.APITimeoutError() | TimeoutError():
            return timed_out(call)
        case openai.BadRequestError(code="content_filter"):
            # Azure's, about the prompt.
            return ModelRefused("the provider's content filter refused the task", model=call.name)
        case openai.APIStatusError():
            cause = _CAUSES.get(error.code or "")
            return from_status(error.status_code, error.response.headers, call, now=now, cause=cause)
        case openai.APIConnectionError():
            return unreachable(call)
        case _:
            return unreadable(call)


def _usage_of(reported: CompletionUsage | None) -> TokenUsage:
    if reported is None:
        return NO_USAGE
    return TokenUsage.reported(reported.prompt_tokens, reported.completion_tokens, reported.total_tokens)
