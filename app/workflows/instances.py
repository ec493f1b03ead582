"""What is under way in a run: workflows, scopes, steps, and the items of a fan-out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.workflows.language.models import Step
from app.workflows.plan import Node, Plan, Scope
from app.workflows.planner import End, ScopeState, first_failure, outcome
from app.workflows.view import CANCELLED, Ended, View


@dataclass(slots=True)
class Call:
    """A workflow: the whole one, or a sub-workflow for ``owner``. ``body`` is how it ended before its `finally`."""

    plan: Plan
    prefix: str
    view: View
    owner: "Instance | None"
    body: Ended | None = None


@dataclass(slots=True)
class OpenScope:
    """Steps of a call or of ``owner``. ``is_ending``: in a `finally`, which no cancel reaches."""

    scope: Scope
    prefix: str
    view: View
    call: Call
    owner: "Instance | None"
    state: ScopeState
    is_ending: bool

    def path_of(self, place: int) -> str:
        return f"{self.prefix}{self.scope.nodes[place].name}"

    def outputs(self) -> dict[str, Any]:
        """In the document's order, whichever step ended first."""
        return {node.name: self.view.steps[node.name].output for node in self.scope.nodes}

    def outcome(self) -> Ended:
        """Of a scope that is over. Its failure is the one that comes first in the document."""
        end, place = outcome(self.state), first_failure(self.state)
        if end is End.SUCCEEDED:
            return Ended(end, self.outputs())
        return Ended(end, None, None if place is None else self.view.steps[self.scope.nodes[place].name].error)


@dataclass(slots=True)
class Instance:
    """A step that has begun, or one item of it. ``iteration`` counts a loop's from 1; 0 before the first."""

    path: str
    node: Node
    home: OpenScope
    view: View
    fan: "FanOut | None" = None
    place: int = 0
    iteration: int = 0
    previous: Any = None

    @property
    def step(self) -> Step:
        return self.node.step

    @property
    def around(self) -> Iterator["Instance"]:
        """The steps that it is inside of, the innermost first."""
        one = self.inside_of
        while one is not None:
            yield one
            one = one.inside_of

    @property
    def inside_of(self) -> "Instance | None":
        return self.fan.instance if self.fan else self.home.owner


@dataclass(slots=True)
class FanOut:
    """The items of a step, begun in their order, and their ends."""

    instance: Instance
    values: Sequence[Any]
    begun: int = 0
    ended: int = 0
    is_stopped: bool = False
    ends: list[Ended | None] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = [None] * len(self.values)

    @property
    def step(self) -> Step:
        return self.instance.step

    @property
    def width(self) -> int:
        """How many items may run at the same time."""
        return min(len(self.values), self.step.max_parallel or len(self.values))

    @property
    def fails_as_one(self) -> bool:
        return self.step.on_item_error in (None, "fail")

    @property
    def goes_on(self) -> bool:
        return self.begun < len(self.values) and not self.is_stopped

    @property
    def is_over(self) -> bool:
        return self.ended == self.begun and not self.goes_on

    @property
    def share(self) -> float:
        """The part of the items that has ended."""
        return self.ended / len(self.values)

    def next_item(self) -> Instance:
        place, self.begun = self.begun, self.begun + 1
        home, value = self.instance, self.values[place]
        view = home.view.within(**{"item": value, self.step.as_ or "item": value})
        return Instance(f"{home.path}[{place}]", home.node, home.home, view, self, place)

    def end_item(self, place: int, ended: Ended) -> None:
        self.ends[place], self.ended = ended, self.ended + 1
        if ended.end is End.CANCELLED or (ended.end is End.FAILED and self.fails_as_one):
            self.is_stopped = True

    def outcome(self) -> Ended:
        """In input order. Items begin in that order too, so the first failure is the same however fast the others
        are."""
        ends = [ended for ended in self.ends if ended is not None]
        if any(ended.end is End.CANCELLED for ended in ends):
            return CANCELLED
        failures = (ended for ended in ends if ended.end is End.FAILED)
        if self.fails_as_one and (failure := next(failures, None)):
            return Ended(End.FAILED, None, failure.error)
        if len(ends) < len(self.values):
            return CANCELLED
        if self.step.on_item_error == "collect":
            return Ended(End.SUCCEEDED, [_collected(ended) for ended in ends])
        return Ended(End.SUCCEEDED, [ended.output for ended in ends])


def _collected(ended: Ended) -> dict[str, Any]:
    error = ended.error.as_json() if ended.error else None
    return {"ok": ended.end is not End.FAILED, "output": ended.output, "error": error}
