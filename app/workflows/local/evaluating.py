"""The `evaluate` step: a verdict on the output of a step, which may have that step try again."""

from collections.abc import Mapping
from typing import Any

from app.governance.evaluation.models import Verdict
from app.setting_evaluation import EvaluationRequest
from app.workflows.language.models import EvaluateSpec
from app.workflows.local.agents import Agents
from app.workflows.local.attempts import Attempt
from app.workflows.run import Execute
from app.workflows.siblings import sibling
from app.workflows.steps.evaluating import cannot_be_asked_again, evaluated
from app.workflows.view import Values


class Evaluations:
    def __init__(self, values: Values, agents: Agents) -> None:
        self._values = values
        self._agents = agents

    async def run(self, spec: EvaluateSpec, attempt: Attempt) -> dict[str, Any]:
        """Raises `EvaluationFailed`, with the verdict as its detail, unless it passed or is only to be flagged."""
        ended = attempt.execute.view.lookup(spec.step)
        task = self._task_of(spec, attempt.execute)

        async def judge(wanted: EvaluationRequest, output: Any) -> Verdict:
            return await self._agents.evaluate(wanted, task, output, attempt)

        async def again(feedback: str) -> dict[str, Any]:
            return await self._again(spec, feedback, attempt)

        return await evaluated(spec, ended.output if ended else None, judge, again)

    async def _again(self, spec: EvaluateSpec, feedback: str, attempt: Attempt) -> dict[str, Any]:
        """The evaluated step once more, told what was wrong."""
        execute = attempt.execute
        step = sibling(execute, spec.step)
        if step is None or step.for_each is not None or (step.agent is None and step.task is None):
            raise cannot_be_asked_again(spec.step)
        given: Mapping[str, Any] = self._values.render(step.with_, execute.view)
        before, attempt.feedback = attempt.feedback, feedback
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
