"""Why a model or a search failed.

::

    ExecutionError
    ├── ModelCallError                                    carries the usage that was billed all the same
    │   ├── LlmError             LLM_ERROR                retryable
    │   │   ├── LlmRejected      LLM_ERROR                bad request, context too long, unknown model
    │   │   ├── LlmTimeout       TIMEOUT                  retryable
    │   │   ├── LlmRateLimited   LLM_RATE_LIMITED         retryable, with the provider's `retry_after`
    │   │   │   └── LlmQuotaExhausted
    │   │   └── LlmAuth          LLM_AUTH
    │   └── AgentOutputInvalid   AGENT_OUTPUT_INVALID     retryable
    │       └── ModelRefused     AGENT_OUTPUT_INVALID
    └── SearchError              SEARCH_ERROR             retryable
        └── SearchRejected       SEARCH_ERROR             wrong key, plan used up, bad query

Messages are safe to show and to store: no prompt, payload, key or URL is in them.
"""

from datetime import timedelta
from typing import Any

from app.errors import ExecutionError
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


class LlmRejected(LlmError):
    retryable = False


class LlmTimeout(LlmError):
    code = "TIMEOUT"
    title = "Model call timed out"


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


class ModelRefused(AgentOutputInvalid):
    """The model declined; asking again would be answered, and billed, the same."""

    title = "Model refused the task"
    retryable = False


class SearchError(ExecutionError):
    code = "SEARCH_ERROR"
    title = "Web search failed"
    retryable = True


class SearchRejected(SearchError):
    retryable = False
