"""A workflow run step after step, written from the specification and as naively as can be.

It knows no plan, no countdown and no event: the planner is measured against it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.workflows.language.models import Step, Workflow
from app.workflows.view import ExpressionFailed
from tests.workflow_builders import evaluate_text, render_json

Environment = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    end: str
    output: Any = None
    error: dict[str, Any] | None = None
    attempts: int = 1

    @property
    def stands_in_the_way(self) -> bool:
        return self.end in ("failed", "blocked")

    def seen(self) -> dict[str, Any]:
        return {"output": self.output, "status": self.end, "attempts": self.attempts, "error": self.error}


class Broken(Exception):
    def __init__(self, kind: str) -> None:
        self.kind = kind


def failure(kind: str, path: str | None) -> Outcome:
    return Outcome("failed", None, {"type": kind, "path": path})


@dataclass(slots=True)
class Reference:
    """``work`` says how a step ends, by its path and what it was given. ``never_begun`` are the items behind the one
    whose failure ended its fan-out: run in parallel, some of them would have begun."""

    parts: Mapping[str, Workflow]
    constants: Mapping[str, Any]
    work: Callable[[str, Any], Outcome]
    ends: dict[str, Outcome] = field(default_factory=dict)
    never_begun: list[str] = field(default_factory=list)

    def run(self, workflow: Workflow) -> Outcome:
        return self._workflow(workflow, self.constants["inputs"], "")

    def _workflow(self, workflow: Workflow, inputs: Any, prefix: str) -> Outcome:
        env: Environment = {"inputs": inputs, "vars": {}, "run": self.constants["run"], "steps": {}}
        try:
            for name, template in workflow.vars.items():
                env["vars"][name] = render_json(template, env)
            body = self._scope(workflow.steps, env, prefix)
            if body.end == "succeeded":
                body = Outcome("succeeded", render_json(workflow.outputs, env))
        except ExpressionFailed as error:
            body = failure(error.code, None)
        run = {**env["run"], "succeeded": body.end == "succeeded", "error": body.error}
        ending = self._scope(workflow.finally_, {**env, "run": run}, f"{prefix}finally.")
        return ending if body.end == "succeeded" and ending.end == "failed" else body

    def _scope(self, steps: Mapping[str, Step], env: Environment, prefix: str) -> Outcome:
        ended: dict[str, Outcome] = {}
        while len(ended) < len(steps):
            name = next(n for n, step in steps.items() if n not in ended and all(need in ended for need in step.needs))
            if any(ended[need].stands_in_the_way for need in steps[name].needs):
                ended[name] = Outcome("blocked", attempts=0)
            else:
                ended[name] = self._step(steps[name], env, f"{prefix}{name}")
            self.ends[f"{prefix}{name}"] = ended[name]
            env["steps"][name] = ended[name].seen()
        for name in steps:
            if ended[name].end == "failed":
                return Outcome("failed", None, ended[name].error)
        return Outcome("succeeded", {name: ended[name].output for name in steps})

    def _step(self, step: Step, env: Environment, path: str) -> Outcome:
        try:
            if step.if_ is not None and not self._truth(step.if_, env):
                return Outcome("skipped", attempts=0)
            outcome = self._items(step, env, path) if step.for_each is not None else self._kind(step, env, path)
        except (ExpressionFailed, Broken) as error:
            outcome = failure(_kind_of(error), path)
        if outcome.end != "failed" or step.on_error == "fail":
            return outcome
        if step.on_error == "continue":
            return replace(outcome, end="tolerated")
        try:
            return replace(outcome, end="tolerated", output=render_json(step.on_error.fallback, env))
        except ExpressionFailed as error:
            return failure(error.code, path)

    def _items(self, step: Step, env: Environment, path: str) -> Outcome:
        values = render_json(step.for_each, env)
        if not isinstance(values, list):
            raise ExpressionFailed("not a list")
        results = []
        for number, value in enumerate(values):
            inner = {**env, "item": value, step.as_ or "item": value}
            ended = self._item(step, inner, f"{path}[{number}]")
            self.ends[f"{path}[{number}]"] = ended
            if ended.end == "failed" and step.on_item_error in (None, "fail"):
                self.never_begun += [f"{path}[{behind}]" for behind in range(number + 1, len(values))]
                return Outcome("failed", None, ended.error)
            results.append(ended)
        if step.on_item_error == "collect":
            return Outcome("succeeded", [_collected(one) for one in results])
        return Outcome("succeeded", [one.output for one in results])

    def _item(self, step: Step, env: Environment, path: str) -> Outcome:
        try:
            return self._kind(step, env, path)
        except (ExpressionFailed, Broken) as error:
            return failure(_kind_of(error), path)

    def _kind(self, step: Step, env: Environment, path: str) -> Outcome:
        if step.loop is not None:
            return self._loop(step, env, path)
        if step.switch is not None:
            return self._switch(step, env, path)
        if step.steps is not None:
            return self._scope(step.steps, _inside(env), f"{path}.")
        if step.workflow is not None:
            inputs = {"number": 3, **render_json(step.with_, env)}
            if not isinstance(inputs["number"], int) or isinstance(inputs["number"], bool):
                raise Broken("WORKFLOW_INPUT_INVALID")
            outcome = self._workflow(self.parts[step.workflow], inputs, f"{path}.")
            # Its own `vars` or `outputs` failed, and none of its steps.
            return failure(outcome.error["type"], path) if outcome.error and not outcome.error["path"] else outcome
        try:
            given = render_json(step.with_, env)
        except ExpressionFailed as error:
            return failure(error.code, path)
        return self.work(path, given)

    def _loop(self, step: Step, env: Environment, path: str) -> Outcome:
        assert step.loop is not None
        assert step.steps is not None
        previous = None
        for iteration in range(1, step.loop.max_iterations + 1):
            inner = _inside({**env, "loop": {"iteration": iteration, "previous": previous}})
            ended = self._scope(step.steps, inner, f"{path}[{iteration}].")
            if ended.end == "failed" or self._truth(step.loop.until, inner):
                return ended
            previous = ended.output
        if step.loop.on_exhausted == "fail":
            raise Broken("LOOP_EXHAUSTED")
        if step.loop.on_exhausted == "continue":
            return Outcome("exhausted", previous)
        return Outcome("exhausted", render_json(step.loop.on_exhausted.output, inner))

    def _switch(self, step: Step, env: Environment, path: str) -> Outcome:
        value = evaluate_text(step.switch or "", env)
        if isinstance(value, list | dict):
            raise ExpressionFailed("no value of a case")
        for case, body in (step.cases or {}).items():
            if str(value).lower() == case:
                return self._scope(body.steps, _inside(env), f"{path}.")
        if step.else_ is None:
            raise ExpressionFailed("no case")
        return self._scope(step.else_.steps, _inside(env), f"{path}.")

    def _truth(self, text: str, env: Environment) -> bool:
        value = evaluate_text(text, env)
        if value is not True and value is not False:
            raise ExpressionFailed("not a truth value")
        return value


def _inside(env: Environment) -> Environment:
    return {**env, "steps": dict(env["steps"])}


def _kind_of(error: ExpressionFailed | Broken) -> str:
    return error.kind if isinstance(error, Broken) else error.code


def _collected(ended: Outcome) -> dict[str, Any]:
    return {"ok": ended.end != "failed", "output": ended.output, "error": ended.error}
