"""A workflow compiled: numbered nodes and the edges between them. Immutable, and cheap to walk."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.workflows.language.models import Step, Workflow


@dataclass(frozen=True, slots=True)
class Node:
    """A step in its scope; ``needs`` and ``successors`` are places of other nodes there.

    ``body`` is what a group or a loop runs; a switch runs one of ``cases``, or ``otherwise``.
    """

    place: int
    name: str
    step: Step
    needs: tuple[int, ...]
    successors: tuple[int, ...]
    body: "Scope | None" = None
    cases: Mapping[str, "Scope"] = field(default_factory=dict)
    otherwise: "Scope | None" = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Steps that see each other's outputs, in the document's order."""

    nodes: tuple[Node, ...]

    @property
    def roots(self) -> Iterator[Node]:
        return (node for node in self.nodes if not node.needs)


@dataclass(frozen=True, slots=True)
class Plan:
    """``parts`` are the sub-workflows, by the name or file that the steps of this document call them by."""

    workflow: Workflow
    digest: str
    body: Scope
    ending: Scope
    parts: Mapping[str, "Plan"] = field(default_factory=dict)


def compile_plan(workflow: Workflow, digest: str, parts: Mapping[str, Plan]) -> Plan:
    """Of a workflow that was validated."""
    return Plan(workflow, digest, compile_scope(workflow.steps), compile_scope(workflow.finally_), parts)


def compile_scope(steps: Mapping[str, Step]) -> Scope:
    """Of steps that were validated: every need is there, and there is no cycle."""
    places = {name: place for place, name in enumerate(steps)}
    needs = [tuple(places[need] for need in dict.fromkeys(step.needs)) for step in steps.values()]
    successors: list[list[int]] = [[] for _ in places]
    for place, needed in enumerate(needs):
        for need in needed:
            successors[need].append(place)
    return Scope(
        tuple(
            Node(
                place,
                name,
                step,
                needs[place],
                tuple(successors[place]),
                compile_scope(step.steps) if step.steps else None,
                {value: compile_scope(case.steps) for value, case in (step.cases or {}).items()},
                compile_scope(step.else_.steps) if step.else_ else None,
            )
            for place, (name, step) in enumerate(steps.items())
        )
    )


def downstream(scope: Scope, names: Iterable[str]) -> frozenset[str]:
    """Those steps and all that need them, directly or not."""
    wanted = set(names)
    found = {node.place for node in scope.nodes if node.name in wanted}
    todo = list(found)
    while todo:
        new = set(scope.nodes[todo.pop()].successors) - found
        found |= new
        todo.extend(new)
    return frozenset(scope.nodes[place].name for place in found)
