"""A plan as boxes within boxes, with the states of its steps where they are known: what all drawings share. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.workflows.places import was_entered
from app.workflows.plan import Node, Plan, Scope
from app.workflows.planner import End
from app.workflows.run import ENDING

RUNNING, WAITING = "running", "waiting"
LONGEST_LABEL = 60
_ENDS = frozenset(End)
# No path begins like this.
_NOT_TAKEN = "?"

States = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Box:
    """A step. ``needs`` are places of others in its group; ``state`` is None where nothing is known."""

    name: str
    label: str
    state: str | None
    needs: tuple[int, ...]
    groups: tuple["Group", ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that stand side by side; ``title`` is empty where their box says enough."""

    title: str
    boxes: tuple[Box, ...]


def groups_of(plan: Plan, states: States | None = None) -> tuple[Group, ...]:
    """``states`` are by path: an end, ``running`` or ``waiting``. Of steps within repetitions none are shown, since
    there are many."""
    known = states or {}
    body = Group("", _boxes(plan, plan.body, "", known))
    if not plan.ending.nodes:
        return (body,)
    return body, Group(ENDING, _boxes(plan, plan.ending, f"{ENDING}.", known))


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
    return " ".join(f"{repeated}{kind} {what or ''}".split())[:LONGEST_LABEL]


def _boxes(plan: Plan, scope: Scope, prefix: str, states: States) -> tuple[Box, ...]:
    return tuple(_box(plan, node, f"{prefix}{node.name}", states) for node in scope.nodes)


def _box(plan: Plan, node: Node, path: str, states: States) -> Box:
    groups = tuple(_groups(plan, node, path, states))
    return Box(node.name, label_of(node), states.get(path), node.needs, groups)


def _groups(plan: Plan, node: Node, path: str, states: States) -> Iterator[Group]:
    for title, inner, scope in _bodies(plan, node):
        prefix = f"{path}.{ENDING}." if scope is inner.ending else f"{path}."
        is_over = states.get(path) in _ENDS
        is_taken = node.step.switch is None or was_entered(scope, prefix, states, is_over=is_over)
        yield Group(title, _boxes(inner, scope, prefix if is_taken else _NOT_TAKEN, states))


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
