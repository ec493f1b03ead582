"""A plan as a Mermaid flowchart, with how its steps ended where that is known. Pure."""

from collections.abc import Iterator, Mapping
from itertools import count

from app.workflows.local.places import was_entered
from app.workflows.plan import Node, Plan, Scope
from app.workflows.run import ENDING

_COLOURS = {
    "succeeded": "#d7f0d7",
    "tolerated": "#f7ecc8",
    "exhausted": "#f7ecc8",
    "skipped": "#eeeeee",
    "blocked": "#eeeeee",
    "failed": "#f6d0d0",
    "cancelled": "#e0d7ee",
}
_LONGEST = 60
# No path begins like this.
_NOT_TAKEN = "?"


def mermaid_of(plan: Plan, ends: Mapping[str, str] | None = None) -> str:
    """``ends`` are by path; of steps within repetitions none are shown, since there are many."""
    return "\n".join([*_Flowchart(ends or {}).lines(plan), ""])


def label_of(node: Node) -> str:
    """What a step does, in a few words."""
    step = node.step
    what = {
        "agent": step.agent,
        "task": step.task,
        "workflow": step.workflow,
        "command": step.command and step.command[0],
        "emit": step.emit,
        "switch": step.switch,
        "evaluate": step.evaluate and step.evaluate.step,
        "loop": step.loop and f"at most {step.loop.max_iterations} times",
    }.get(step.kind)
    repeated = "each " if step.for_each is not None else ""
    kind = "" if step.kind == "steps" else step.kind
    return " ".join(f"{repeated}{kind} {what or ''}".split())[:_LONGEST]


class _Flowchart:
    def __init__(self, ends: Mapping[str, str]) -> None:
        self._ends = ends
        self._numbers = count(1)
        self._classes: list[str] = []

    def lines(self, plan: Plan) -> Iterator[str]:
        yield "flowchart TD"
        yield from self._scope(plan, plan.body, "", "  ")
        if plan.ending.nodes:
            yield '  subgraph finally["finally"]'
            yield from self._scope(plan, plan.ending, "finally.", "    ")
            yield "  end"
        yield from self._classes
        used = {line.rsplit(" ", 1)[1] for line in self._classes}
        yield from (f"  classDef {end} fill:{colour}" for end, colour in _COLOURS.items() if end in used)

    def _scope(self, plan: Plan, scope: Scope, prefix: str, indent: str) -> Iterator[str]:
        names = {node.place: f"s{next(self._numbers)}" for node in scope.nodes}
        for node in scope.nodes:
            yield from self._node(plan, node, names[node.place], f"{prefix}{node.name}", indent)
        for node in scope.nodes:
            yield from (f"{indent}{names[need]} --> {names[node.place]}" for need in node.needs)

    def _node(self, plan: Plan, node: Node, name: str, path: str, indent: str) -> Iterator[str]:
        bodies = list(_bodies(plan, node))
        text = _quoted(f"{node.name}<br/>{_escaped(label_of(node))}")
        if self._ends.get(path) in _COLOURS:
            self._classes.append(f"  class {name} {self._ends[path]}")
        if not bodies:
            yield f"{indent}{name}[{text}]"
            return
        yield f"{indent}subgraph {name}[{text}]"
        for title, inner, body in bodies:
            if title:
                yield f"{indent}  subgraph {name}_{next(self._numbers)}[{_quoted(_escaped(title))}]"
            prefix = f"{path}.{ENDING}." if body is inner.ending else f"{path}."
            is_taken = node.step.switch is None or was_entered(body, prefix, self._ends, is_over=path in self._ends)
            yield from self._scope(inner, body, prefix if is_taken else _NOT_TAKEN, f"{indent}    ")
            if title:
                yield f"{indent}  end"
        yield f"{indent}end"


def _bodies(plan: Plan, node: Node) -> Iterator[tuple[str, Plan, Scope]]:
    if node.step.workflow is not None:
        part = plan.parts[node.step.workflow]
        yield "", part, part.body
        if part.ending.nodes:
            yield ENDING, part, part.ending
    if node.body is not None:
        yield "", plan, node.body
    for case, scope in node.cases.items():
        yield f"case {case}", plan, scope
    if node.otherwise is not None:
        yield "else", plan, node.otherwise


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _quoted(text: str) -> str:
    return f'"{" ".join(text.split())}"'
