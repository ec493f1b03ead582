"""The kernel's handler for steps: one attempt, and what becomes of the step after it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from app.clock import Clock
from app.errors import AttemptTimeout, ExecutionError, LeaseLost, NotAsked, OrchestratorError, Unavailable
from app.governance.budgets.chat import BudgetedChat
from app.governance.budgets.spending import BudgetEnforcer, Spending
from app.jobs.dispatch import NotAdmitted
from app.jobs.models import Job, JobError, Reason
from app.jobs.outcomes import Failed, Finished, Outcome, RetryAt
from app.jobs.retry import Backoff, RetryPolicy
from app.jobs.runner import Attempt
from app.observability.context import bound
from app.tasks.approval import held_for_approval
from app.tasks.policy import ApprovalNeeded, note_decision
from app.workflows.executions.attempts import ATTEMPTS, STOPPED, StepRuns, failures_in, is_charged, told
from app.workflows.executions.models import StepNotFound
from app.workflows.executions.plans import PlanSource
from app.workflows.executions.policy import edited_input, question_of_step
from app.workflows.executions.spending import accounts_of
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.executions.work import CommandsNotAllowed, StepWork, Workshop
from app.workflows.handover import check_contract
from app.workflows.language.models import Defaults, Step
from app.workflows.places import Passed, way_to
from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.steps.retrying import delay_before_retry, is_patient, retries_of
from app.workflows.steps.transcripts import TranscribedChat, Transcript

log = structlog.get_logger(__name__)

# A step that needs a program is offered to workers so often, with a pause in between, until one may run it.
MOST_OFFERS, OFFER_PAUSE = 20, timedelta(seconds=1)
# After lost workers and stores that did not answer; what the step's own errors lead to is in its workflow.
_BACKOFF = Backoff(initial=timedelta(seconds=1), maximum=timedelta(seconds=60))


@dataclass(frozen=True, slots=True)
class Task:
    """A step to be carried out; ``way`` are the steps that it is inside of, and itself."""

    plan: Plan
    way: Sequence[Passed]
    given: Mapping[str, Any]

    @property
    def step(self) -> Step:
        return self.way[-1].step

    @property
    def defaults(self) -> Defaults:
        """Those of the workflow it is written in."""
        return self.way[-1].plan.workflow.defaults


class StepHandler:
    """What a step's errors lead to is decided here, by its workflow; those of the store are left to the kernel."""

    def __init__(
        self,
        plans: PlanSource,
        values: ValueStore,
        workshop: Workshop,
        *,
        budgets: BudgetEnforcer,
        clock: Clock,
        timeout: timedelta,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``timeout`` is that of attempts at steps whose workflow names none; ``jitter`` is uniform in [0, 1)."""
        self._plans = plans
        self._values = values
        self._workshop = workshop
        self._budgets = budgets
        self._clock = clock
        self._timeout = timeout
        self._jitter = jitter

    async def __call__(self, attempt: Attempt) -> Outcome:
        task = await self._task_of(attempt.job)
        document = attempt.job.document
        async with self._workshop.publisher.of_attempt(attempt.job) as live:
            runs = StepRuns(
                attempt,
                live,
                Transcript(self._workshop.redactor),
                clock=self._clock,
                new_meter=self._workshop.new_meter,
                new_tape=self._workshop.recorder.new_tape,
            )
            owner = document["execution_id"]
            with bound(session_id=owner, execution_id=owner, step=document["path"]):
                try:
                    return await self._carry_out(attempt, task, runs)
                finally:
                    await self._workshop.recorder.keep(attempt, runs.tapes.recording)

    async def _task_of(self, job: Job) -> Task:
        document, pin = job.document, job.document["workflow"]
        plan = await self._plans.get(job.tenant_id, pin["name"], pin["digest"])
        way = way_to(plan, document["path"], document.get("cases") or ())
        if not way:
            raise StepNotFound(f"workflow {pin['name']!r} has no step {document['path']!r} in version {pin['digest']}")
        given = await self._values.get(_place_of(job), document["input"])
        return Task(plan, way, given or {})

    async def _carry_out(self, attempt: Attempt, task: Task, runs: StepRuns) -> Outcome:
        work, spending = self._prepare(attempt, task, runs)
        try:
            task = await self._permitted(attempt, task)
            output = await self._within_limits(task, spending, lambda: _guarded(work, task, runs))
            check_contract(task.step, output)
            stored = await self._values.put(_place_of(attempt.job), output)
        except (LeaseLost, NotAdmitted):
            raise
        except Unavailable as error:
            runs.note(told(error))
            raise
        except ApprovalNeeded as needed:
            runs.note(told(needed), is_charged=False)
            note_decision(attempt, needed.note)
            return held_for_approval(needed.approval, since=self._clock())
        except OrchestratorError as error:
            return await self._after_error(attempt, task, runs, error)
        except asyncio.CancelledError:
            runs.note(STOPPED, is_charged=False)
            raise
        runs.note(None)
        artifacts = {"artifacts": work.artifacts} if work.artifacts else {}
        return Finished({"output": stored, "end": End.SUCCEEDED.value, "fault": None, **artifacts})

    async def _permitted(self, attempt: Attempt, task: Task) -> Task:
        """The step as the policy, or people that it asks, let it pass. Raises as `PolicyEnforcer.check`."""
        policy, registry = self._workshop.equipment.policy, self._workshop.registry
        if is_patient(task.step) or not await policy.is_asked(attempt.job.tenant_id):
            return task
        passed = await policy.permit(attempt, question_of_step(attempt.job, task.way, task.given, registry))
        return task if passed.edited_input is None else replace(task, given=edited_input(passed.edited_input))

    def _prepare(self, attempt: Attempt, task: Task, runs: StepRuns) -> tuple[StepWork, Spending]:
        job, workshop = attempt.job, self._workshop
        document = job.document
        execution_id = document["execution_id"]
        accounts = accounts_of(job.tenant_id, execution_id, task.plan, document["path"], document.get("cases") or ())
        whose = {"_id": job.id, "tenant_id": job.tenant_id, "session_id": execution_id}
        spending = self._budgets.of_attempt(whose, agent=runs.agent or task.step.kind, accounts=accounts)
        # Noted when they are really asked: a prompt that a budget refused was never sent.
        chat = BudgetedChat(TranscribedChat(workshop.chat, runs.transcript), spending)
        return StepWork(workshop, task.step, attempt, runs, spending, chat), spending

    async def _within_limits(self, task: Task, spending: Spending, work: Callable[[], Awaitable[Any]]) -> Any:
        if is_patient(task.step):
            return await work()
        limit = task.step.timeout or task.defaults.timeout or self._timeout
        try:
            async with asyncio.timeout(limit.total_seconds()) as allowed:
                return await spending.timed(work)
        except TimeoutError as error:
            if not allowed.expired():
                raise
            raise AttemptTimeout("the step took longer than its timeout") from error

    async def _after_error(self, attempt: Attempt, task: Task, runs: StepRuns, error: OrchestratorError) -> Outcome:
        retry = self._retry(attempt.job, task, error)
        runs.note(told(error), is_charged=retry is None or retry.charged)
        if retry is not None:
            return retry
        output, fields = error.details.get("output"), attempt.evidence.fields
        if output is not None:
            fields["output"] = await self._values.put(_place_of(attempt.job), output)
        fields["end"] = End.FAILED.value
        fields["fault"] = {**told(error), "path": attempt.job.document["path"]}
        return Failed(_reported(error))

    def _retry(self, job: Job, task: Task, error: OrchestratorError) -> RetryAt | None:
        before = job.document[ATTEMPTS]
        if isinstance(error, CommandsNotAllowed):
            return self._offered_again(before, error)
        charged = is_charged(error)
        delay = delay_before_retry(
            retries_of(task.step, task.defaults),
            error,
            failures=max(failures_in(before) + charged, 1),
            tries=len(before) + 1,
            jitter=self._jitter(),
        )
        if delay is None:
            return None
        at = self._clock() + delay
        if job.deadline_at is not None and at >= job.deadline_at:
            return None
        reason = Reason(error.reason) if isinstance(error, NotAsked) else Reason.RETRY_SCHEDULED
        return RetryAt(at, _reported(error), reason=reason, charged=charged)

    def _offered_again(self, before: list[Mapping[str, Any]], error: ExecutionError) -> RetryAt | None:
        offers = sum((one["error"] or {}).get("type") == error.code for one in before)
        if offers >= MOST_OFFERS:
            return None
        at = self._clock() + OFFER_PAUSE
        return RetryAt(at, _reported(error), reason=Reason.DEFERRED, charged=False)


def policy_of_step(job: Job) -> RetryPolicy:
    """For what the kernel decides by itself: lost workers, and stores that did not answer."""
    return RetryPolicy(job.max_attempts, _BACKOFF)


def agent_of_step(document: Mapping[str, Any]) -> str | None:
    """The agent that is known to do the step before it is claimed."""
    agent: str | None = document.get("agent")
    return agent


async def _guarded(work: StepWork, task: Task, runs: StepRuns) -> Any:
    try:
        return await work.run(task.given)
    except (OrchestratorError, NotAdmitted):
        raise
    except Exception as error:  # the edge to the code of agents and tools
        log.exception("step.crashed")
        raise OrchestratorError(f"{runs.agent or task.step.kind} raised {type(error).__name__}") from error


def _place_of(job: Job) -> str:
    return values_place_of(job.tenant_id, job.document["execution_id"])


def _reported(error: OrchestratorError) -> JobError:
    return JobError(error.code, error.message)
