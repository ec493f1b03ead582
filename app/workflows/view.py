"""What expressions see of a run, and how its steps ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from app.errors import OrchestratorError
from app.workflows.planner import End


class ExpressionFailed(OrchestratorError):
    """An expression could not be evaluated; the message names it and never a value."""

    code = "EXPRESSION_FAILED"
    title = "Expression failed"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a step failed. ``type`` is a stable code, ``path`` the innermost step that failed."""

    type: str
    message: str
    path: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended; ``attempts`` counts how often it was tried, 0 for one that never began."""

    end: End
    output: Any = None
    error: Fault | None = None
    attempts: int = 1

    def as_json(self) -> dict[str, Any]:
        return {
            "end": self.end.value,
            "output": self.output,
            "error": self.error.as_json() if self.error else None,
            "attempts": self.attempts,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Ended":
        error = content.get("error")
        return cls(
            End(content["end"]), content.get("output"), Fault(**error) if error else None, content.get("attempts", 1)
        )


SKIPPED = Ended(End.SKIPPED, attempts=0)
BLOCKED = Ended(End.BLOCKED, attempts=0)
CANCELLED = Ended(End.CANCELLED, attempts=0)


def failed(error: OrchestratorError) -> Ended:
    return Ended(End.FAILED, None, Fault(error.code, error.message))


@dataclass(slots=True)
class View:
    """What expressions of a scope see: its own steps and those around it, and values of the repetition it is in.

    ``constants`` are `inputs`, `vars` and `run`; those of ``around`` do not count.
    """

    constants: Mapping[str, Any]
    steps: dict[str, Ended] = field(default_factory=dict)
    around: "View | None" = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def within(self, **extra: Any) -> "View":
        return View(self.constants, around=self, extra=extra)

    def lookup(self, name: str) -> Ended | None:
        """The innermost step of that name that has ended."""
        view: View | None = self
        while view is not None:
            if name in view.steps:
                return view.steps[name]
            view = view.around
        return None

    def extras(self) -> dict[str, Any]:
        """Of all repetitions around; the innermost one's hide those of the others."""
        found: dict[str, Any] = {}
        view: View | None = self
        while view is not None:
            found = {**view.extra, **found}
            view = view.around
        return found


class Values(Protocol):
    """Evaluates expressions and templates. Both raise `ExpressionFailed`."""

    def evaluate(self, expression: str, view: View) -> Any: ...

    def render(self, template: Any, view: View) -> Any: ...
