"""Texts of documents: within limits, with places for what is said about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.source_tree import Fault, Limits, Path, SourceInvalid, SourceTree
from app.workflows.language.problems import Problem, WorkflowInvalid
from app.yaml_source import read_yaml, text_of

LIMITS = Limits(size=1024 * 1024, depth=64)
WHOLE = "document"


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


def read_document(text: str | bytes, *, source: str) -> SourceTree:
    """Raises `WorkflowInvalid` for a text that is neither YAML nor JSON, or that holds what documents may not."""
    try:
        return read_yaml(text if isinstance(text, str) else text_of(text, LIMITS), LIMITS)
    except SourceInvalid as error:
        raise WorkflowInvalid([_problem(fault) for fault in error.faults], source=source) from error


def mapping_of(tree: SourceTree, *, source: str) -> dict[str, Any]:
    """Raises `WorkflowInvalid` for a document that is no mapping."""
    if isinstance(tree.value, dict):
        return tree.value
    fix = "begin with `version: 1`, `name: …` and `steps:`"
    raise WorkflowInvalid([Problem(1, 1, WHOLE, "a workflow is a mapping of keys to values", fix)], source=source)


def _problem(fault: Fault) -> Problem:
    return Problem(fault.line, fault.column, path_text(fault.path), fault.message, fault.fix)
