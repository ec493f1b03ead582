"""What is wrong with a document, where, and how to mend it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.errors import Invalid

MOST_PROBLEMS = 100
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """``line`` and ``column`` count from 1; ``path`` names the part, as in `steps.review.with.text`.

    ``source`` names the sub-workflow that it is in; empty for the document itself.
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


class WorkflowInvalid(Invalid):
    """Every problem of a document at once, by place."""

    code = "WORKFLOW_INVALID"
    title = "Workflow invalid"

    def __init__(self, problems: Sequence[Problem], *, source: str = "workflow") -> None:
        self.problems = tuple(sorted(set(problems), key=_place)[:MOST_PROBLEMS])
        super().__init__(_told(self.problems, source), problems=[asdict(one) for one in self.problems])


def _place(problem: Problem) -> tuple[str, int, int, str, str]:
    return problem.source, problem.line, problem.column, problem.path, problem.message


def _told(problems: Sequence[Problem], source: str) -> str:
    lines = [f"{one.source or source}:{one.line}:{one.column}: {one.path}: {one.told}" for one in problems[:MOST_TOLD]]
    more = len(problems) - MOST_TOLD
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)
