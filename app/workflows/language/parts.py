"""Where the texts of sub-workflows come from."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import Invalid, NotFound
from app.workflows.language.models import Step, Workflow
from app.workflows.language.source import LIMITS

Place = tuple[str | int, ...]
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Part:
    """``source`` is the same for the same document, and is the caller of what the document calls."""

    text: str | bytes
    source: str


class Resolver(Protocol):
    def __call__(self, reference: str, caller: str | None) -> Part:
        """``caller`` is the source of the part that calls; None: the document itself. Raises `NotFound`, `Invalid`."""
        ...


class FileParts:
    """Files of one folder and those below: by path from the calling file, or by name beside it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def __call__(self, reference: str, caller: str | None) -> Part:
        folder = Path(caller or "").parent
        try:
            return self._read(folder / reference) if reference.endswith(SUFFIXES) else self._beside(folder, reference)
        except OSError as error:
            raise Invalid(f"{reference} cannot be read: {error.strerror}") from error

    def _beside(self, folder: Path, name: str) -> Part:
        found = [path for suffix in SUFFIXES if (self._root / (path := folder / f"{name}{suffix}")).is_file()]
        if not found:
            raise NotFound(f"there is no file {name}{SUFFIXES[0]} beside the one that calls it")
        return self._read(found[0])

    def _read(self, relative: Path) -> Part:
        path = Path(os.path.normpath(self._root / relative))
        if relative.is_absolute() or not path.is_relative_to(self._root):
            raise Invalid(f"{relative.name} is outside of the folder of the workflow: move it there, or below")
        name = path.relative_to(self._root).as_posix()
        if not path.is_file():
            raise NotFound(f"there is no file {name}")
        # What a link leads to may be anywhere, and another file tomorrow.
        if path.resolve() != path:
            raise Invalid(f"{name} is a link, or in a folder that is one: copy the file")
        with path.open("rb") as file:
            return Part(file.read(LIMITS.size + 1), name)


def calls_of(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """Every sub-workflow that it calls, with the place of the call."""
    for path, step in steps_of(workflow):
        if step.workflow is not None:
            yield (*path, "workflow"), step.workflow


def steps_of(workflow: Workflow) -> Iterator[tuple[Place, Step]]:
    """All steps with their places; those within others after them."""
    for body, steps in workflow.bodies().items():
        yield from _steps_in(steps, (body,))


def _steps_in(steps: Mapping[str, Step], place: Place) -> Iterator[tuple[Place, Step]]:
    for name, step in steps.items():
        here = (*place, name)
        yield here, step
        yield from _steps_in(step.steps or {}, (*here, "steps"))
        for value, case in (step.cases or {}).items():
            yield from _steps_in(case.steps, (*here, "cases", value, "steps"))
        if step.else_ is not None:
            yield from _steps_in(step.else_.steps, (*here, "else", "steps"))
