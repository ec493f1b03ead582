"""One provider exception in, one of our errors out. The provider's own text is never repeated: it may quote the key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

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
)
from app.llm.providers import Provider
from app.llm.usage import NO_USAGE, TokenUsage
from app.model_names import ModelRef

# What the SDKs let through besides their own trees: HTML or broken JSON (ValueError), no choices (IndexError),
# a body of another shape (KeyError, TypeError, AttributeError).
UNREADABLE = (ValueError, IndexError, KeyError, TypeError, AttributeError, TimeoutError)

_PER_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
# OpenAI's and Anthropic's headers: what remains, and when there is more.
_QUOTAS = (
    *((f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}") for kind in ("requests", "tokens")),
    *(
        (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset")
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)


class Cause(StrEnum):
    """What a status alone does not tell."""

    QUOTA = "quota"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Call:
    """Who was asked for what, for messages."""

    provider: Provider
    model: ModelRef

    @property
    def name(self) -> str:
        return str(self.model)


def from_status(
    status: int, headers: Mapping[str, str], call: Call, *, now: datetime, cause: Cause | None = None
) -> ModelCallError:
    if cause is Cause.QUOTA:
        return LlmQuotaExhausted("the model provider's quota is used up: check plan and billing", model=call.name)
    if cause is Cause.CONTEXT:
        return context_too_long(call)
    if status == 429:
        return LlmRateLimited(
            "the model provider limits the rate of calls", model=call.name, retry_after=wait_of(headers, now)
        )
    if status in {401, 403}:
        return LlmAuth(f"the model provider answered {status}: check {call.provider.key_setting}", model=call.name)
    return _from_other_status(status, call, retry_after(headers, now))


def _from_other_status(status: int, call: Call, wait: timedelta | None) -> ModelCallError:
    if status >= 500:
        return LlmUnavailable(f"the model provider answered {status}", model=call.name, retry_after=wait)
    if status in {408, 409}:
        return LlmError(f"the model provider answered {status}", model=call.name, retry_after=wait)
    if status == 404:
        return LlmRejected(f"the model provider knows no model {call.name!r} at this endpoint", model=call.name)
    return LlmRejected(f"the model provider refused the request with {status}", model=call.name)


def timed_out(call: Call) -> LlmTimeout:
    return LlmTimeout("the model did not answer in time (LLM_TIMEOUT_SEC)", model=call.name)


def unreachable(call: Call) -> LlmUnavailable:
    return LlmUnavailable(f"the model provider cannot be reached; check {call.provider.url_setting}", model=call.name)


def unreadable(call: Call) -> LlmUnavailable:
    return LlmUnavailable("the model provider sent an answer that cannot be read", model=call.name)


def context_too_long(call: Call, usage: TokenUsage = NO_USAGE) -> LlmContextTooLong:
    return LlmContextTooLong(
        f"the task does not fit the context of model {call.name!r}; shorten it or choose a model with a larger one",
        usage=usage,
        model=call.name,
    )


def cut_off(call: Call, usage: TokenUsage) -> AgentOutputInvalid:
    return AgentOutputInvalid(
        "the model's answer was cut off because it was too long; raise LLM_MAX_TOKENS or ask for less",
        usage=usage,
        model=call.name,
    )


def wait_of(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """What a 429 asks for: its `Retry-After`, else when the allowance that is used up is filled again."""
    asked = retry_after(headers, now)
    if asked is not None:
        return asked
    resets = (_reset(headers.get(reset), now) for remaining, reset in _QUOTAS if _number(headers.get(remaining)) == 0)
    return max((reset for reset in resets if reset is not None), default=None)


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


def _reset(text: str | None, now: datetime) -> timedelta | None:
    """OpenAI writes a duration (`6m0s`, `17ms`), Anthropic a time (RFC 3339)."""
    if not text:
        return None
    parts = _DURATION_PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _PER_UNIT[unit] for number, unit in parts)
        return timedelta(seconds=min(seconds, 86_400.0))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now, timedelta())


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 86_400_000 else None


def _until(date: str, now: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(aware - now, timedelta())
