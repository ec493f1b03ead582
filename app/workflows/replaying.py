"""A run rebuilt from what was recorded of it: after a crash, for a fork, and to prove a planner against histories."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import Conflict
from app.workflows.plan import Plan, downstream
from app.workflows.run import ENDING, Run
from app.workflows.view import Ended, Values

Told = tuple[str, Ended]


class WorkflowMismatch(Conflict):
    """What was recorded belongs to another version of the workflow."""

    code = "WORKFLOW_MISMATCH"
    title = "Workflow mismatch"


def replay(
    plan: Plan,
    values: Values,
    constants: Mapping[str, Any],
    ends: Iterable[Told],
    *,
    cancelled_after: int | None = None,
) -> Run:
    """A run that was told these ends in this order, and cancelled after so many of them; `Run.open` is what is left.

    An end of a step that has not begun yet waits until it does, so ends of another version of the plan, or of a run
    that a fork takes over, count as far as they fit.
    """
    run = Run(plan, values, constants)
    early: dict[str, Ended] = {}
    run.begin()
    if cancelled_after == 0:
        run.cancel()
    for number, (path, ended) in enumerate(ends, start=1):
        early[path] = ended
        _catch_up(run, early, path)
        if number == cancelled_after:
            run.cancel()
    return run


def _catch_up(run: Run, early: dict[str, Ended], path: str) -> None:
    begun = deque([path])
    while begun:
        path = begun.popleft()
        if path in early and path in run.running:
            begun.extend(command.path for command in run.end(path, early.pop(path)))


def restore(plan: Plan, values: Values, snapshot: Mapping[str, Any]) -> Run:
    """Where a `Run.snapshot` was taken. Raises `WorkflowMismatch`."""
    if snapshot["digest"] != plan.digest:
        raise WorkflowMismatch(
            "the workflow has changed since this run began: go on with the definition it began with, or fork it",
            recorded=snapshot["digest"],
            digest=plan.digest,
        )
    ends = ((path, Ended.from_json(ended)) for path, ended in snapshot["ends"])
    return replay(plan, values, snapshot["constants"], ends, cancelled_after=snapshot["cancelled_after"])


def ends_before(plan: Plan, step: str, ends: Iterable[Told]) -> Iterator[Told]:
    """Those a fork from ``step`` of the workflow's body takes over: of steps that neither are it nor need it."""
    again = downstream(plan.body, [step]) | {ENDING}
    return ((path, ended) for path, ended in ends if _step_of(path) not in again)


def _step_of(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]
