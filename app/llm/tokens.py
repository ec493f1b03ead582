"""About how many tokens a text has, before any provider says so.

The vocabularies of real tokenizers come over the network and differ by model. English and code have about four bytes to
a token, most other scripts about three: this errs on the side of too many.
"""

from collections.abc import Iterable

from app.llm.messages import Message

BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 4


def estimate_tokens(text: str) -> int:
    """A third of the bytes in UTF-8, rounded up."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def tokens_of(messages: Iterable[Message]) -> int:
    return sum(estimate_tokens(message.content) + TOKENS_PER_MESSAGE for message in messages)
