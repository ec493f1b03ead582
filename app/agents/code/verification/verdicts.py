"""What a parser says of a file."""

from dataclasses import dataclass

LONGEST_EXCERPT = 120


class Unverifiable(Exception):
    """No parser here can tell whether the file is right; the message says why, for a reader."""


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Where a parser stopped: line and column count from 1; `excerpt` is the line as the model wrote it."""

    message: str
    line: int | None = None
    column: int | None = None
    excerpt: str = ""

    @property
    def place(self) -> str:
        """Without a word of the source."""
        spots = [f"{name} {at}" for name, at in (("line", self.line), ("column", self.column)) if at is not None]
        return ", ".join(spots) or "somewhere"


UNREADABLE = SyntaxProblem("the source is too deeply nested or too repetitive to be read")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ok` only when `parser` read the whole file. Without a parser there is a `note` that says why."""

    path: str
    language: str | None
    ok: bool
    parser: str | None
    problem: SyntaxProblem | None = None
    note: str | None = None


def excerpt_of(source: str, line: int | None) -> str:
    lines = source.split("\n", line)[:line] if line and line > 0 else []
    return lines[-1].strip()[:LONGEST_EXCERPT] if line is not None and len(lines) == line else ""
