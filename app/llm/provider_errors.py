"""One provider exception in, one of our errors out. The provider's own text is never repeated: it may quote the key."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import openai
from openai.types.completion_usage import CompletionUsage

from app.llm.errors import (
    AgentOutputInvalid,
    LlmAuth,
    LlmError,
    LlmQuotaExhausted,
    LlmRateLimited,
    LlmRejected,
    LlmTimeout,
    LlmUnavailable,
    ModelCallError,
    ModelRefused,
)
from app.llm.usage import NO_USAGE, TokenUsage

# What langchain-openai 1.7 lets through besides openai's own tree: HTML or broken JSON (ValueError),
# no choices (IndexError), a body of another shape (KeyError, TypeError, AttributeError).
PROVIDER_FAILURES = (
    openai.OpenAIError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    TimeoutError,
)


def translate(error: Exception, *, model: str, now: datetime) -> ModelCallError:
    match error:
        case openai.LengthFinishReasonError():
            return cut_off(model, usage_of(error.completion.usage))
        case openai.ContentFilterFinishReasonError():
            return ModelRefused("the provider's content filter stopped the answer", model=model)
        case openai.APITimeoutError() | TimeoutError():
            return LlmTimeout("the model did not answer in time (LLM_TIMEOUT_SEC)", model=model)
        case openai.APIStatusError():
            return _from_status(error, model, now)
        case openai.APIConnectionError():
            return LlmUnavailable("the model provider cannot be reached; check OPENAI_BASE_URL", model=model)
        case _:
            return LlmUnavailable("the model provider sent an answer that cannot be read", model=model)


def cut_off(model: str, usage: TokenUsage) -> AgentOutputInvalid:
    return AgentOutputInvalid(
        "the model's answer was cut off because it was too long; raise LLM_MAX_TOKENS or ask for less",
        usage=usage,
        model=model,
    )


def usage_of(reported: CompletionUsage | None) -> TokenUsage:
    if reported is None:
        return NO_USAGE
    return TokenUsage(reported.prompt_tokens, reported.completion_tokens, reported.total_tokens)


def _from_status(error: openai.APIStatusError, model: str, now: datetime) -> ModelCallError:
    status = error.status_code
    wait = retry_after(error.response.headers, now)
    if status in {401, 403}:
        return LlmAuth(f"the model provider answered {status}: check OPENAI_API_KEY", model=model)
    if status == 429:
        return _rate_limited(error, model, wait)
    if status >= 500:
        return LlmUnavailable(f"the model provider answered {status}", model=model, retry_after=wait)
    if status in {408, 409}:
        return LlmError(f"the model provider answered {status}", model=model, retry_after=wait)
    return LlmRejected(_rejection(status, error.code, model), model=model)


def _rate_limited(error: openai.APIStatusError, model: str, wait: timedelta | None) -> LlmRateLimited:
    if error.code == "insufficient_quota":
        return LlmQuotaExhausted("the model provider's quota is used up: check plan and billing", model=model)
    return LlmRateLimited("the model provider limits the rate of calls", model=model, retry_after=wait)


def _rejection(status: int, code: str | None, model: str) -> str:
    if code == "context_length_exceeded":
        return f"the task does not fit the context of model {model!r}"
    if status == 404:
        return f"the model provider knows no model {model!r} at this endpoint"
    return f"the model provider refused the request with {status}"


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait asked for by `retry-after-ms` (OpenAI) or `Retry-After` (RFC 9110: seconds or a date)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return timedelta(milliseconds=milliseconds)
    written = headers.get("retry-after")
    seconds = _number(written)
    if seconds is not None:
        return timedelta(seconds=seconds)
    return _until(written, now) if written else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 86_400_000 else None


def _until(date: str, now: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(aware - now, timedelta())
