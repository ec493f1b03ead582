"""A workflow as a graph: its steps and which needs which, for those who draw it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.workflows.language.models import Step, Workflow
from app.workflows.run import ENDING

OTHERWISE = "else"
_TARGETS = ("agent", "workflow", "emit")


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A step. ``path`` is that of its instances, but for the numbers of items and rounds; cases may share one."""

    id: str
    path: str
    name: str
    kind: str
    target: str | None
    description: str
    parent: str | None
    case: str | None
    repeats: bool
    conditional: bool
    ending: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Where steps stand: ``id`` and ``path`` are what theirs begin with."""

    id: str = ""
    path: str = ""
    parent: str | None = None
    case: str | None = None
    ending: bool = False


def graph_of(workflow: Workflow) -> dict[str, Any]:
    """As plain data: `nodes` in the order of the document, and `edges` from a step to the one that needs it."""
    found = [
        *_steps_in(workflow.steps, _Place()),
        *_steps_in(workflow.finally_, _Place(f"{ENDING}.", f"{ENDING}.", ending=True)),
    ]
    edges = [
        {"from": f"{place.id}{need}", "to": f"{place.id}{name}"}
        for place, name, step in found
        for need in dict.fromkeys(step.needs)
    ]
    return {"nodes": [asdict(_node(*one)) for one in found], "edges": edges}


def _steps_in(steps: Mapping[str, Step], place: _Place) -> Iterator[tuple[_Place, str, Step]]:
    for name, step in steps.items():
        yield place, name, step
        inner, path = f"{place.id}{name}", f"{place.path}{name}."
        if step.steps:
            yield from _steps_in(step.steps, _Place(f"{inner}.", path, inner, ending=place.ending))
        cases = {**(step.cases or {}), **({OTHERWISE: step.else_} if step.else_ else {})}
        for value, case in cases.items():
            begun = _Place(f"{inner}({value}).", path, inner, value, place.ending)
            yield from _steps_in(case.steps, begun)


def _node(place: _Place, name: str, step: Step) -> GraphNode:
    return GraphNode(
        id=f"{place.id}{name}",
        path=f"{place.path}{name}",
        name=name,
        kind=step.kind,
        target=next((value for kind in _TARGETS if (value := getattr(step, kind)) is not None), None),
        description=step.description,
        parent=place.parent,
        case=place.case,
        repeats=step.for_each is not None or step.loop is not None,
        conditional=step.if_ is not None,
        ending=place.ending,
    )
