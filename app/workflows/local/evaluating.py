"""The `evaluate` step: a verdict on the output of a step, which may have that step try again."""

from collections.abc import Mapping
from typing import Any

from app.errors import Invalid
from app.governance.evaluation.evaluator import EvaluationFailed
from app.governance.evaluation.models import Verdict
from app.setting_evaluation import EvaluationRequest
from app.workflows.language.models import EvaluateSpec, Step
from app.workflows.local.agents import Agents
from app.workflows.local.attempts import Attempt
from app.workflows.run import Execute
from app.workflows.view import Values


class Evaluations:
    def __init__(self, values: Values, agents: Agents) -> None:
        self._values = values
        self._agents = agents

    async def run(self, spec: EvaluateSpec, attempt: Attempt) -> dict[str, Any]:
        """Raises `EvaluationFailed`, with the verdict as its detail, unless it passed or is only to be flagged."""
        execute = attempt.execute
        ended = execute.view.lookup(spec.step)
        output = ended.output if ended else None
        wanted, task = request_of(spec), self._task_of(spec, execute)
        verdict = await self._agents.evaluate(wanted, task, output, attempt)
        rounds = 1
        while spec.on_fail == "retry" and not verdict.passed and rounds <= spec.max_rounds:
            output = await self._again(spec, verdict, attempt)
            verdict, rounds = await self._agents.evaluate(wanted, task, output, attempt), rounds + 1
        result = {**verdict.as_json(), "rounds": rounds, "output": output}
        if not verdict.passed and spec.on_fail != "flag":
            failing = ", ".join(verdict.failing)
            message = f"{spec.step} scored {verdict.score:.2f} of {verdict.threshold:.2f} needed: {failing}"
            raise EvaluationFailed(message, output=result)
        return result

    async def _again(self, spec: EvaluateSpec, verdict: Verdict, attempt: Attempt) -> dict[str, Any]:
        """The evaluated step once more, told what was wrong."""
        execute = attempt.execute
        step = sibling(execute, spec.step)
        if step is None or step.for_each is not None or (step.agent is None and step.task is None):
            raise Invalid(f"{spec.step!r} cannot be asked again: `on_fail: retry` is for an agent or a task")
        given: Mapping[str, Any] = self._values.render(step.with_, execute.view)
        before, attempt.feedback = attempt.feedback, verdict.feedback
        try:
            if step.agent is not None:
                return await self._agents.run(step.agent, given, attempt)
            return await self._agents.run_task(str(self._values.render(step.task, execute.view)), given, attempt)
        finally:
            attempt.feedback = before

    def _task_of(self, spec: EvaluateSpec, execute: Execute) -> str:
        """What the evaluated step was to do, in words."""
        step = sibling(execute, spec.step)
        if step is None or step.for_each is not None:
            return ""
        if step.task is not None:
            return str(self._values.render(step.task, execute.view))
        given = self._values.render(step.with_, execute.view)
        return str(given.get("task") or given.get("text") or step.description)


def request_of(spec: EvaluateSpec) -> EvaluationRequest:
    wanted = {"checks": spec.checks, "rubric": spec.rubric, "minimum_score": spec.threshold, "retries": 0}
    return EvaluationRequest.model_validate(wanted)


def sibling(execute: Execute, name: str) -> Step | None:
    """The step of that name in the scope of this one."""
    owners = [step for _, step in execute.around if step is not execute.step]
    inside = owners[-1] if owners else None
    if inside is None or inside.workflow is not None:
        bodies = [execute.workflow.steps, execute.workflow.finally_]
    else:
        cases = [*(inside.cases or {}).values(), *([inside.else_] if inside.else_ else [])]
        bodies = [inside.steps or {}, *(case.steps for case in cases)]
    return next((body[name] for body in bodies if name in body and execute.step in body.values()), None)
