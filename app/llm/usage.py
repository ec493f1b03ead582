"""What a model call is for and what it consumed. Light on purpose: the API process imports it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

# More than any call can have: what a provider claims must fit into a document, and into a budget.
MOST_TOKENS = 1_000_000_000


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

    @classmethod
    def reported(
        cls, prompt: int, completion: int, total: int, *, cached: int = 0, cache_written: int = 0, reasoning: int = 0
    ) -> Self:
        """What a provider says, as far as it can be: nothing is negative, and no part exceeds its whole."""
        asked, said = _within(prompt, MOST_TOKENS), _within(completion, MOST_TOKENS)
        read = _within(cached, asked)
        return cls(
            asked,
            said,
            max(_within(total, 2 * MOST_TOKENS), asked + said),
            read,
            _within(cache_written, asked - read),
            _within(reasoning, said),
        )

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.total + other.total,
            self.cached + other.cached,
            self.cache_written + other.cache_written,
            self.reasoning + other.reasoning,
        )


def _within(count: int, most: int) -> int:
    return min(max(count, 0), most)


NO_USAGE = TokenUsage()
