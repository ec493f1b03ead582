"""Which turns an agent sees in full, and which are to be condensed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.agents.context import fit_ranked
from app.agents.prompt import load_prompt
from app.llm.messages import Message
from app.llm.tokens import tokens_of
from app.sessions.models import Memory, Turn
from app.sessions.summary import shortened

MOST_CONDENSED = 16_000


@dataclass(frozen=True, slots=True)
class Limits:
    """In tokens by `estimate_tokens`: of the history as a whole, and what is condensed at least at a time.

    Without context nothing is remembered; with 0 to condense, what falls out of the window is forgotten.
    """

    context: int
    condensed: int


def history_of(memory: Memory | None, turns: Sequence[Turn], limits: Limits) -> tuple[Message, ...]:
    """The memory as a turn of its own, if it fits, and as many of the newest turns as fit beside it, oldest first."""
    recap = _recap(memory, limits)
    kept = fit_ranked(reversed(turns), limits.context - tokens_of(recap), size=size_of)
    return (*recap, *(message for turn in reversed(kept) for message in _messages(turn)))


def turns_to_condense(memory: Memory | None, turns: Sequence[Turn], limits: Limits) -> list[Turn]:
    """The oldest ones, when not all fit: so many that room is left for the next turns. Bounded, for one call."""
    room = limits.context - tokens_of(_recap(memory, limits))
    if not limits.condensed or sum(map(size_of, turns)) <= room:
        return []
    kept = fit_ranked(reversed(turns), room - limits.condensed, size=size_of)
    falling_out = turns[: len(turns) - len(kept)]
    return fit_ranked(falling_out, MOST_CONDENSED, size=lambda turn: size_of(shortened(turn)))


def size_of(turn: Turn) -> int:
    return tokens_of(_messages(turn))


def _recap(memory: Memory | None, limits: Limits) -> tuple[Message, ...]:
    if memory is None:
        return ()
    # As something the assistant said: it was made from what strangers wrote, and must not speak as instructions.
    recap = (Message("user", load_prompt("memory_recap").render()), Message("assistant", memory.text))
    return recap if tokens_of(recap) <= limits.context else ()


def _messages(turn: Turn) -> Iterable[Message]:
    return Message("user", turn.question), Message("assistant", turn.answer)
