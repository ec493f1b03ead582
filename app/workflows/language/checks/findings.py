"""Problems as they are found, each with its place and the nearest right name."""

import difflib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.source_problems import Positions, Problem

Path = tuple[str | int, ...]
# More than are shown, and no more than that: a document can have thousands, and each name is compared with others.
MOST_FOUND = 200
_MOST_COMPARED = 300
_MOST_NAMES = 10


@dataclass(slots=True)
class Findings:
    positions: Positions
    # Ordered, and each once.
    problems: dict[Problem, None] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return len(self.problems) >= MOST_FOUND

    def add(self, path: Path, message: str, fix: str | None = None) -> None:
        if not self.is_full:
            self.problems[self.positions.problem(path, message, fix)] = None


def nearest(name: str, names: Iterable[str]) -> str | None:
    """What to do about a name that is not one of these: the nearest, else all when they are few."""
    known = list(itertools.islice(dict.fromkeys(names), _MOST_COMPARED))
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if found:
        return f"did you mean `{found[0]}`?"
    return f"there are {', '.join(known)}" if 0 < len(known) <= _MOST_NAMES else None
