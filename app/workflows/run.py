"""One run of a plan: which steps may start now, and what the ends of others bring about. Pure, in memory.

Whoever drives it carries out what `begin` and `end` answer, in any order and at the same time, and tells each end
once; telling one again changes nothing. The same ends give the same outputs in whatever order they are told.
"""

from collections import deque
from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.errors import OrchestratorError
from app.workflows.handover import checked_inputs, checked_output
from app.workflows.instances import Call, FanOut, Instance, OpenScope
from app.workflows.language.models import LoopSpec, Step, Workflow
from app.workflows.plan import Plan, Scope
from app.workflows.planner import End, begin, finish, stop
from app.workflows.repetition import Exhausted, case_of, is_true, items_of
from app.workflows.view import BLOCKED, CANCELLED, SKIPPED, Ended, ExpressionFailed, Values, View, failed

ENDING = "finally"


@dataclass(frozen=True, slots=True)
class Execute:
    """Carry out this step of ``workflow``, whose defaults hold for it; attempts and time are the driver's.

    ``around`` are the steps that it is inside of, with their paths and the outermost first: their limits hold as well.
    """

    path: str
    step: Step
    view: View
    workflow: Workflow
    around: tuple[tuple[str, Step], ...]


class Run:
    """``ends`` are those of all steps and items, by path; ``result`` is the run's own, with its outputs."""

    def __init__(self, plan: Plan, values: Values, constants: Mapping[str, Any]) -> None:
        """``constants`` are `inputs`, checked and with their defaults, and `run`, as expressions see them."""
        self._plan = plan
        self._values = values
        self._constants = constants
        self._live: dict[str, Instance] = {}
        self._scopes: dict[str, OpenScope] = {}
        self._fans: dict[str, FanOut] = {}
        # Worked off one after the other, so that depth and length of a workflow cost no stack.
        self._to_start: deque[Instance] = deque()
        self._to_settle: deque[tuple[Instance, Ended]] = deque()
        self._commands: list[Execute] = []
        self._is_cancelled = False
        self._cancelled_after: int | None = None
        self._told: list[tuple[str, Ended]] = []
        self.ends: dict[str, Ended] = {}
        self.result: Ended | None = None

    @property
    def running(self) -> KeysView[str]:
        """Paths of what was handed out and has not ended."""
        return self._live.keys()

    @property
    def open(self) -> list[Execute]:
        """What was handed out and has not ended, in the order in which it was."""
        return [_command(instance) for instance in self._live.values()]

    def find(self, path: str) -> Execute | None:
        """What was handed out at this path and has not ended."""
        instance = self._live.get(path)
        return None if instance is None else _command(instance)

    def progress(self) -> float:
        """The part of the workflow's own steps that has ended, from 0 to 1; a fan-out counts by its items."""
        if self.result is not None:
            return 1.0
        body = self._scopes.get("")
        if body is None:
            # Only `finally` is left, or nothing has begun.
            return 0.99 if self.ends else 0.0
        parts = sum(fan.share for fan in self._fans.values() if fan.instance.home is body)
        return (len(body.state.ends) + parts) / len(body.scope.nodes)

    @property
    def not_begun(self) -> int:
        """Steps of scopes that have been entered, which wait for others."""
        return sum(
            state.missing[place] > 0 and place not in state.ends
            for state in (opened.state for opened in self._scopes.values())
            for place in range(len(state.missing))
        )

    def begin(self) -> list[Execute]:
        """What may start at once."""
        self._begin_call(self._plan, self._constants.get("inputs", {}), "", owner=None)
        return self._work()

    def end(self, path: str, ended: Ended) -> list[Execute]:
        """What may start now that this succeeded, failed or was cancelled. For a path that does not run, or does not
        run any more, nothing follows."""
        instance = self._live.pop(path, None)
        if instance is None:
            return []
        self._told.append((path, ended))
        self._settle(instance, ended)
        return self._work()

    def cancel(self) -> list[str]:
        """After `begin`: start nothing more. What has not begun ends as cancelled, and every `finally` still runs.

        Paths of what is to be stopped; the driver tells how these ended.
        """
        if not self._is_cancelled:
            self._is_cancelled, self._cancelled_after = True, len(self._told)
            for opened in self._scopes.values():
                self._stop(opened)
        return [path for path, instance in self._live.items() if not instance.home.is_ending]

    def snapshot(self) -> dict[str, Any]:
        """As JSON, what `restore` needs to be where this run is."""
        return {
            "digest": self._plan.digest,
            "constants": dict(self._constants),
            "ends": [[path, ended.as_json()] for path, ended in self._told],
            "cancelled_after": self._cancelled_after,
        }

    def _work(self) -> list[Execute]:
        while self._to_settle or self._to_start:
            if self._to_settle:
                self._apply(*self._to_settle.popleft())
            else:
                self._start(self._to_start.popleft())
        commands, self._commands = self._commands, []
        return commands

    def _settle(self, instance: Instance, ended: Ended) -> None:
        self._to_settle.append((instance, ended))

    def _begin_call(self, plan: Plan, inputs: Mapping[str, Any], prefix: str, *, owner: Instance | None) -> None:
        known: dict[str, Any] = {}
        view = View({"inputs": inputs, "vars": known, "run": self._constants.get("run", {})})
        call = Call(plan, prefix, view, owner)
        try:
            for name, template in plan.workflow.vars.items():
                known[name] = self._values.render(template, view)
        except OrchestratorError as error:
            return self._end_body(call, failed(error))
        return self._open(plan.body, prefix, view, call, owner)

    def _open(self, scope: Scope, prefix: str, view: View, call: Call, owner: Instance | None) -> None:
        state, progress = begin(scope)
        is_ending = call.body is not None or bool(owner and owner.home.is_ending)
        opened = self._scopes[prefix] = OpenScope(scope, prefix, view, call, owner, state, is_ending)
        self._ready(opened, progress.ready)

    def _stop(self, opened: OpenScope) -> None:
        if not opened.is_ending:
            for place in stop(opened.scope, opened.state):
                self._record(opened, place, CANCELLED)

    def _record(self, home: OpenScope, place: int, ended: Ended) -> None:
        self.ends[home.path_of(place)] = home.view.steps[home.scope.nodes[place].name] = ended

    def _ready(self, home: OpenScope, places: Sequence[int]) -> None:
        for place in places:
            self._to_start.append(Instance(home.path_of(place), home.scope.nodes[place], home, home.view))

    def _close(self, closed: OpenScope) -> None:
        del self._scopes[closed.prefix]
        call, owner, ended = closed.call, closed.owner, closed.outcome()
        if owner is None or owner is call.owner:
            return self._end_of_call(call, ended)
        if owner.step.loop is not None and ended.end is End.SUCCEEDED:
            return self._end_iteration(owner, owner.step.loop, closed)
        return self._end_structure(owner, ended)

    def _end_of_call(self, call: Call, ended: Ended) -> None:
        body = call.body
        if body is None:
            return self._end_body(call, self._returned(call, ended))
        # A failure of the body stays the primary one.
        return self._end_call(call, ended if body.end is End.SUCCEEDED and ended.end is not End.SUCCEEDED else body)

    def _returned(self, call: Call, ended: Ended) -> Ended:
        if ended.end is not End.SUCCEEDED:
            return ended
        try:
            return Ended(End.SUCCEEDED, self._values.render(call.plan.workflow.outputs, call.view))
        except OrchestratorError as error:
            return failed(error)

    def _end_body(self, call: Call, ended: Ended) -> None:
        call.body = ended
        ending = call.plan.ending
        if not ending.nodes:
            return self._end_call(call, ended)
        error = ended.error.as_json() if ended.error else None
        run = {**call.view.constants["run"], "succeeded": ended.end is End.SUCCEEDED, "error": error}
        view = View({**call.view.constants, "run": run}, around=call.view)
        return self._open(ending, f"{call.prefix}{ENDING}.", view, call, call.owner)

    def _end_call(self, call: Call, ended: Ended) -> None:
        if call.owner is None:
            self.result = ended
        else:
            self._end_structure(call.owner, ended)

    def _end_structure(self, owner: Instance, ended: Ended) -> None:
        self._settle(owner, checked_output(owner.step, ended))

    def _start(self, instance: Instance) -> None:
        if self._is_cancelled and not instance.home.is_ending:
            return self._settle(instance, CANCELLED)
        try:
            if instance.fan is not None or instance.iteration:
                return self._carry_out(instance)
            return self._start_step(instance)
        except OrchestratorError as error:
            return self._settle(instance, failed(error))

    def _start_step(self, instance: Instance) -> None:
        step = instance.step
        if step.if_ is not None and not is_true(self._values, step.if_, instance.view):
            return self._settle(instance, SKIPPED)
        if step.for_each is None:
            return self._carry_out(instance)
        fan = FanOut(instance, items_of(self._values.render(step.for_each, instance.view)))
        for _ in range(fan.width):
            self._to_start.append(fan.next_item())
        if fan.is_over:
            return self._settle(instance, fan.outcome())
        self._fans[instance.path] = fan
        return None

    def _carry_out(self, instance: Instance) -> None:
        step, node = instance.step, instance.node
        if step.loop is not None:
            self._iterate(instance)
        elif step.switch is not None:
            case = case_of(self._values.evaluate(step.switch, instance.view))
            self._enter(instance, node.cases.get(case) or node.otherwise, f"{instance.path}.")
        elif step.steps is not None:
            self._enter(instance, node.body, f"{instance.path}.")
        elif step.workflow is not None:
            part = instance.home.call.plan.parts[step.workflow]
            inputs = checked_inputs(part.workflow, self._values.render(step.with_, instance.view))
            self._begin_call(part, inputs, f"{instance.path}.", owner=instance)
        else:
            self._live[instance.path] = instance
            self._commands.append(_command(instance))

    def _enter(self, instance: Instance, scope: Scope | None, prefix: str, **extra: Any) -> None:
        if scope is None:
            raise ExpressionFailed("no case of the switch fits its value, and it has no `else`")
        self._open(scope, prefix, instance.view.within(**extra), instance.home.call, instance)

    def _iterate(self, instance: Instance) -> None:
        instance.iteration += 1
        loop = {"iteration": instance.iteration, "previous": instance.previous}
        self._enter(instance, instance.node.body, f"{instance.path}[{instance.iteration}].", loop=loop)

    def _end_iteration(self, owner: Instance, loop: LoopSpec, closed: OpenScope) -> None:
        try:
            if is_true(self._values, loop.until, closed.view):
                return self._end_structure(owner, Ended(End.SUCCEEDED, closed.outputs()))
            if owner.iteration < loop.max_iterations:
                owner.previous = closed.outputs()
                return self._to_start.append(owner)
            return self._end_structure(owner, self._exhausted(loop, closed))
        except OrchestratorError as error:
            return self._settle(owner, failed(error))

    def _exhausted(self, loop: LoopSpec, closed: OpenScope) -> Ended:
        if loop.on_exhausted == "fail":
            raise Exhausted(f"the loop was not done after {loop.max_iterations} iterations")
        if loop.on_exhausted == "continue":
            return Ended(End.EXHAUSTED, closed.outputs())
        return Ended(End.EXHAUSTED, self._values.render(loop.on_exhausted.output, closed.view))

    def _apply(self, instance: Instance, ended: Ended) -> None:
        ended = self._tolerated(instance, _located(instance, ended))
        home, place = instance.home, instance.node.place
        if instance.fan is not None:
            self.ends[instance.path] = ended
            return self._end_item(instance.fan, instance.place, ended)
        self._record(home, place, ended)
        progress = finish(home.scope, home.state, place, ended.end)
        for blocked in progress.blocked:
            self._record(home, blocked, BLOCKED)
        self._ready(home, progress.ready)
        if home.state.is_over:
            self._close(home)
        return None

    def _tolerated(self, instance: Instance, ended: Ended) -> Ended:
        policy = instance.step.on_error
        if ended.end is not End.FAILED or policy == "fail" or instance.fan is not None:
            return ended
        if policy == "continue":
            return replace(ended, end=End.TOLERATED)
        try:
            return replace(ended, end=End.TOLERATED, output=self._values.render(policy.fallback, instance.view))
        except OrchestratorError as error:
            return _located(instance, failed(error))

    def _end_item(self, fan: FanOut, place: int, ended: Ended) -> None:
        fan.end_item(place, ended)
        if self._is_cancelled and not fan.instance.home.is_ending:
            fan.is_stopped = True
        if fan.goes_on:
            self._to_start.append(fan.next_item())
        elif fan.is_over:
            self._fans.pop(fan.instance.path, None)
            self._settle(fan.instance, fan.outcome())


def _command(instance: Instance) -> Execute:
    around = tuple((one.path, one.step) for one in instance.around)[::-1]
    return Execute(instance.path, instance.step, instance.view, instance.home.call.plan.workflow, around)


def _located(instance: Instance, ended: Ended) -> Ended:
    if ended.end is not End.FAILED or ended.error is None or ended.error.path is not None:
        return ended
    return replace(ended, error=replace(ended.error, path=instance.path))
