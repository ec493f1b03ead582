"""What may start when a step of a scope has ended. Pure and incremental: an end costs the edges out of its step.

A scope's state is a countdown per node of needs that have not ended. Each end is applied once, however often it is
told. A node whose needs have all ended is ready, unless one of them stands in its way; then it is blocked, which is
an end as well and goes on along the edges.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from app.workflows.plan import Scope


class End(StrEnum):
    """How a step ended, for those that need it.

    ``exhausted`` is a loop that ran out of iterations and goes on nevertheless; ``tolerated`` one that failed and whose
    failure is not to matter; ``blocked`` one that never began because of an end before it.
    """

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    EXHAUSTED = "exhausted"
    TOLERATED = "tolerated"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"

    @property
    def lets_on(self) -> bool:
        """Whether the steps that need this one may start."""
        return self in _LET_ON


_LET_ON = frozenset({End.SUCCEEDED, End.SKIPPED, End.EXHAUSTED, End.TOLERATED})


@dataclass(slots=True)
class ScopeState:
    """Where a scope stands. ``missing`` counts the needs of each node that have not ended; ``barred`` are nodes with a
    need that stands in their way.

    Who has nothing missing has begun or ended.
    """

    missing: list[int]
    barred: set[int] = field(default_factory=set)
    ends: dict[int, End] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return len(self.ends) == len(self.missing)


@dataclass(frozen=True, slots=True)
class Progress:
    """What an end brings about: nodes that may start now, and nodes that never will."""

    ready: tuple[int, ...] = ()
    blocked: tuple[int, ...] = ()


def begin(scope: Scope) -> tuple[ScopeState, Progress]:
    state = ScopeState([len(node.needs) for node in scope.nodes])
    return state, Progress(ready=tuple(node.place for node in scope.roots))


def finish(scope: Scope, state: ScopeState, place: int, end: End) -> Progress:
    """Apply the end of a node; nothing follows from one that was applied before."""
    if place in state.ends:
        return Progress()
    ready: list[int] = []
    blocked: list[int] = []
    state.ends[place] = end
    ending = deque([place])
    while ending:
        over = ending.popleft()
        for successor in scope.nodes[over].successors:
            state.missing[successor] -= 1
            if not state.ends[over].lets_on:
                state.barred.add(successor)
            if state.missing[successor] or successor in state.ends:
                continue
            if successor in state.barred:
                state.ends[successor] = End.BLOCKED
                blocked.append(successor)
                ending.append(successor)
            else:
                ready.append(successor)
    return Progress(tuple(ready), tuple(blocked))


def stop(scope: Scope, state: ScopeState) -> tuple[int, ...]:
    """End all that has not begun as cancelled; what runs ends by itself. Those that were cancelled, in their order."""
    idle = tuple(node.place for node in scope.nodes if state.missing[node.place] and node.place not in state.ends)
    state.ends.update(dict.fromkeys(idle, End.CANCELLED))
    return idle


def outcome(state: ScopeState) -> End:
    """Of a scope that is over. A step that was cancelled comes before one that failed: what it kept from happening is
    not known."""
    ends = set(state.ends.values())
    return next((end for end in (End.CANCELLED, End.FAILED) if end in ends), End.SUCCEEDED)


def first_failure(state: ScopeState) -> int | None:
    """The failed node that comes first in the document, whichever failed first; None when none failed."""
    return min((place for place, end in state.ends.items() if end is End.FAILED), default=None)
