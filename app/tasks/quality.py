"""Has outputs evaluated, as their task or the policy of their agent asks, and tried again until one passes."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from app.agents.base import AgentOutput, AgentRequest
from app.errors import ExecutionError
from app.governance.evaluation.evaluator import EvaluationFailed, Evaluator
from app.governance.evaluation.models import EVALUATION, EVALUATOR, EVALUATOR_ROLE, Verdict, subject_of
from app.jobs.outcomes import Finished, Outcome
from app.jobs.runner import Attempt
from app.llm.messages import Chat
from app.llm.search import WebSearch
from app.replay.tape import output_as_json
from app.setting_evaluation import EvaluationPolicy, EvaluationRequest
from app.tasks.clarification import clarified_text
from app.tasks.evaluation import ANY_AGENT, read_evaluation
from app.tasks.execution import result_of
from app.tasks.review import held_for_review
from app.tasks.runs import RunRecorder, cost_so_far

log = structlog.get_logger(__name__)

_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Judged:
    """``verdict`` is None when nothing was evaluated; ``rounds`` is how often the agent did its work."""

    output: AgentOutput
    wanted: EvaluationRequest | None = None
    verdict: Verdict | None = None
    rounds: int = 1


# Has the agent do its work, with what was wrong with its last output.
Produce = Callable[[str | None], Awaitable[AgentOutput]]


class QualityGate:
    """One per worker process."""

    def __init__(self, evaluator: Evaluator, policies: Mapping[str, EvaluationPolicy], search: WebSearch) -> None:
        self._evaluator = evaluator
        self._policies = policies
        self._search = search

    def request_of(self, task: Mapping[str, Any], agent_name: str) -> EvaluationRequest | None:
        """The task's own wish, else its agent's policy if the task is one of those that are sampled."""
        if wanted := read_evaluation(task):
            return wanted
        policy = self._policies.get(agent_name) or self._policies.get(ANY_AGENT)
        return policy if policy and is_sampled(task["_id"], policy.sample_rate) else None

    async def produce(
        self, attempt: Attempt, agent_name: str, produce: Produce, runs: RunRecorder, chat: Chat
    ) -> Judged:
        """An output that passed, or the last that did not. Raises what producing and judging raise."""
        wanted = self.request_of(attempt.job.document, agent_name)
        output, rounds = await produce(None), 1
        if wanted is None:
            return Judged(output)
        verdict = await self._evaluate(wanted, output, attempt, runs, chat)
        while verdict is not None and not verdict.passed and rounds <= wanted.retries:
            # What this round cost would be lost with the worker otherwise.
            await attempt.save(cost_so_far(attempt.evidence))
            output, rounds = await produce(verdict.feedback), rounds + 1
            verdict = await self._evaluate(wanted, output, attempt, runs, chat)
        return Judged(output, wanted, verdict, rounds)

    async def _evaluate(
        self, wanted: EvaluationRequest, output: AgentOutput, attempt: Attempt, runs: RunRecorder, chat: Chat
    ) -> Verdict | None:
        task = attempt.job.document
        try:
            with runs.run(EVALUATOR, EVALUATOR_ROLE) as run:
                asked = _asked(task, wanted)
                tools = run.recorded(run.meter.tools(chat, self._search), asked)
                subject = subject_of(asked.text, output_as_json(output))
                verdict = await self._evaluator.evaluate(wanted, subject, tools.chat)
                run.finish(verdict_as_output(verdict))
        except ExecutionError as error:
            if not wanted.only_observes:
                raise
            log.warning("evaluation.not_made", error_type=error.code)
            return None
        return verdict


def is_sampled(task_id: str, rate: float) -> bool:
    """The same answer for a task in every attempt and on every worker."""
    bucket = int(hashlib.sha256(task_id.encode()).hexdigest(), 16) % _BUCKETS
    return bucket < rate * _BUCKETS


def outcome_of(judged: Judged, *, agent_type: str, now: datetime) -> Outcome:
    """The result with its verdict, or what the task wants to happen without a good one. Raises `EvaluationFailed`."""
    verdict, wanted = judged.verdict, judged.wanted
    told = None if verdict is None else {**verdict.as_json(), "rounds": judged.rounds}
    result = {**result_of(judged.output), EVALUATION: told}
    if verdict is None or wanted is None or verdict.passed or wanted.on_failure == "accept":
        return Finished({"agent_type": agent_type, "result": result})
    if wanted.on_failure == "flag":
        return held_for_review(verdict, result, since=now)
    failing = ", ".join(verdict.failing)
    raise EvaluationFailed(f"the output scored {verdict.score:.2f} of {verdict.threshold:.2f} needed: {failing}")


def _asked(task: Mapping[str, Any], wanted: EvaluationRequest) -> AgentRequest:
    inputs = {EVALUATION: wanted.model_dump(mode="json", by_alias=True)}
    return AgentRequest(task["_id"], task["session_id"], task["tenant_id"], clarified_text(task), inputs=inputs)


def verdict_as_output(verdict: Verdict) -> AgentOutput:
    """As it is noted and recorded."""
    grade = "passed" if verdict.passed else "failed"
    return AgentOutput(
        f"{grade}: {verdict.score:.2f}", json.dumps(verdict.as_json(), ensure_ascii=False), data=verdict.as_json()
    )
