"""What a model call is for and what it consumed. Light on purpose: the API process imports it."""

from dataclasses import dataclass
from enum import StrEnum


class ModelRole(StrEnum):
    """The jobs a model is configured for: `LLM_PEER_MODEL`, `LLM_CONTENT_MODEL` and so on."""

    PEER = "peer"
    CONTENT = "content"
    CODE = "code"
    TEXT = "text"
    EVALUATOR = "evaluator"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens as the provider billed them; `total` may exceed the sum when it counts hidden ones.

    Of `prompt`, `cached` were read from the provider's cache and `cache_written` put into it; of `completion`,
    `reasoning` were thought and not said.
    """

    prompt: int = 0
    completion: int = 0
    total: int = 0
    cached: int = 0
    cache_written: int = 0
    reasoning: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.total + other.total,
            self.cached + other.cached,
            self.cache_written + other.cache_written,
            self.reasoning + other.reasoning,
        )


NO_USAGE = TokenUsage()
