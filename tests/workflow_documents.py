"""Documents of workflows for tests, and what loading makes of them."""

from collections.abc import Mapping

import pytest

from app.errors import NotFound
from app.source_problems import Problem
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import Part
from app.workflows.language.problems import WorkflowInvalid

SOURCE = "flow.yaml"


def stored(**texts: str) -> "StoredTexts":
    return StoredTexts(texts)


class StoredTexts:
    """Sub-workflows by name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __call__(self, reference: str, caller: str | None) -> Part:
        if reference not in self._texts:
            raise NotFound(f"there is no workflow {reference!r}")
        return Part(self._texts[reference], reference)


def load(text: str | bytes, **parts: str) -> Definition:
    return load_workflow(text, source=SOURCE, resolve=stored(**parts))


def problems_of(text: str | bytes, **parts: str) -> tuple[Problem, ...]:
    with pytest.raises(WorkflowInvalid) as caught:
        load(text, **parts)
    return caught.value.problems
