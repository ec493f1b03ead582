"""Why a model or a search failed.

::

    ExecutionError
    ├── ModelCallError                                    carries the usage that was billed all the same
    │   ├── LlmError             LLM_ERROR                retryable
    │   │   ├── LlmUnavailable   LLM_ERROR                retryable: no connection, 5xx, an answer nobody can read
    │   │   ├── LlmTimeout       TIMEOUT                  retryable
    │   │   ├── LlmRejected      LLM_ERROR                bad request, unknown model
    │   │   │   └── LlmContextTooLong  CONTEXT_TOO_LONG
    │   │   ├── LlmRateLimited   LLM_RATE_LIMITED         retryable, with the provider's `retry_after`
    │   │   │   └── LlmQuotaExhausted
    │   │   └── LlmAuth          LLM_AUTH
    │   └── AgentOutputInvalid   AGENT_OUTPUT_INVALID     retryable, at once and with its message in the prompt
    │       └── ModelRefused     AGENT_OUTPUT_INVALID
    ├── NotAsked                                          retryable, and no attempt is charged
    │   └── ProviderBusy         LLM_RATE_LIMITED         the minute's allowance is used up, or it asked for a pause
    └── SearchError              SEARCH_ERROR             retryable
        ├── SearchUnavailable    SEARCH_ERROR             retryable: no connection, no answer in time, 5xx
        └── SearchRejected       SEARCH_ERROR             wrong key, plan used up, bad query

`OUTAGES` are those that open a circuit: the provider did not answer, or not as one that works.

Messages are safe to show and to store: no prompt, payload, key or URL is in them.
"""

from datetime import timedelta
from typing import Any

from app.errors import ExecutionError, NotAsked
from app.llm.usage import NO_USAGE, TokenUsage


class ModelCallError(ExecutionError):
    code = "LLM_ERROR"
    title = "Model call failed"

    def __init__(
        self,
        message: str,
        /,
        *,
        usage: TokenUsage = NO_USAGE,
        retry_after: timedelta | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.usage = usage


class LlmError(ModelCallError):
    retryable = True


class LlmUnavailable(LlmError):
    title = "Model provider unavailable"


class LlmTimeout(LlmError):
    code = "TIMEOUT"
    title = "Model call timed out"


class LlmRejected(LlmError):
    retryable = False


class LlmContextTooLong(LlmRejected):
    code = "CONTEXT_TOO_LONG"
    title = "Too long for the model"


class LlmRateLimited(LlmError):
    code = "LLM_RATE_LIMITED"
    title = "Model provider rate limit"


class LlmQuotaExhausted(LlmRateLimited):
    retryable = False


class LlmAuth(LlmError):
    code = "LLM_AUTH"
    title = "Model provider refused the credentials"
    retryable = False


class AgentOutputInvalid(ModelCallError):
    code = "AGENT_OUTPUT_INVALID"
    title = "Agent output invalid"
    retryable = True
    backs_off = False


class ModelRefused(AgentOutputInvalid):
    """The model declined; asking again would be answered, and billed, the same."""

    title = "Model refused the task"
    retryable = False


class ProviderBusy(NotAsked):
    """The provider would have answered 429: what it allows is used up for now."""

    code = LlmRateLimited.code
    title = "Model provider rate limit"
    reason = "rate_limited"


class SearchError(ExecutionError):
    code = "SEARCH_ERROR"
    title = "Web search failed"
    retryable = True


class SearchUnavailable(SearchError):
    title = "Search provider unavailable"


class SearchRejected(SearchError):
    retryable = False


OUTAGES = (LlmUnavailable, LlmTimeout, SearchUnavailable)
