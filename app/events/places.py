"""Where a client is in the events of a task: behind a status change, or behind a live event that followed it."""

import re
from dataclasses import dataclass
from typing import Self

_WRITTEN = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_BEYOND_ALL = 10**9


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """``seq`` is the number of the status change, ``number`` that of the live event behind it, 0 for none.

    Places sort as the events do. As an event's id one is written `3` or `3-17`.
    """

    seq: int
    number: int = 0

    def __str__(self) -> str:
        return f"{self.seq}-{self.number}" if self.number else str(self.seq)

    @classmethod
    def just_before(cls, seq: int) -> Self:
        """Behind everything that comes before this status change."""
        return cls(seq - 1, _BEYOND_ALL)

    @property
    def next(self) -> "Place":
        """Where the next live event is, unless some were lost."""
        return Place(self.seq, self.number + 1)

    @classmethod
    def read(cls, written: str | None) -> Self | None:
        """The place of an event's id; None for anything that is not one."""
        found = _WRITTEN.fullmatch(written or "")
        return cls(int(found[1]), int(found[2] or 0)) if found else None
