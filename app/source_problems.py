"""What is wrong with a document, where, and how to mend it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from app.errors import Invalid
from app.source_tree import Path, SourceInvalid

MOST_PROBLEMS = 100
MOST_TOLD = 20
WHOLE = "document"


@dataclass(frozen=True, slots=True)
class Problem:
    """``line`` and ``column`` count from 1; ``path`` names the part, as in `steps.review.with.text`.

    ``source`` names the part of the document that is a document of its own; empty for the document itself.
    """

    line: int
    column: int
    path: str
    message: str
    fix: str | None = None
    source: str = ""

    @property
    def told(self) -> str:
        return f"{self.message}: {self.fix}" if self.fix else self.message


class DocumentInvalid(Invalid):
    """Every problem of a document at once, by place."""

    code = "DOCUMENT_INVALID"
    title = "Document invalid"

    def __init__(self, problems: Sequence[Problem], *, source: str = WHOLE) -> None:
        self.problems = tuple(sorted(set(problems), key=_place)[:MOST_PROBLEMS])
        super().__init__(_told(self.problems, source), problems=[asdict(one) for one in self.problems])


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the parts of a document stand."""

    places: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def nowhere(cls) -> "Positions":
        """Of a document that was not read from a text."""
        return cls()

    def of(self, path: Path) -> tuple[int, int]:
        """Line and column of the deepest part on the way to ``path`` that is there."""
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return place
        return 1, 1

    def problem(self, path: Path, message: str, fix: str | None = None) -> Problem:
        line, column = self.of(path)
        return Problem(line, column, path_text(path), message, fix)


def path_text(path: Iterable[str | int]) -> str:
    """As in `steps.review.needs[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in path)
    return text.removeprefix(".") or WHOLE


def problems_of(error: SourceInvalid) -> list[Problem]:
    """What is wrong with a text that cannot be read."""
    return [Problem(one.line, one.column, path_text(one.path), one.message, one.fix) for one in error.faults]


def _place(problem: Problem) -> tuple[str, int, int, str, str]:
    return problem.source, problem.line, problem.column, problem.path, problem.message


def _told(problems: Sequence[Problem], source: str) -> str:
    lines = [f"{one.source or source}:{one.line}:{one.column}: {one.path}: {one.told}" for one in problems[:MOST_TOLD]]
    more = len(problems) - MOST_TOLD
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)
