"""Drives one run of a plan in this process: carries out what may start, notes how it ended, tells the planner."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import count, islice
from typing import Any

import structlog

from app.agents.metering import Meter
from app.errors import AttemptTimeout, OrchestratorError
from app.governance.budgets.pricing import Price
from app.llm.errors import AgentOutputInvalid
from app.workflows.handover import check_contract
from app.workflows.language.models import Step
from app.workflows.local.artifacts import kept_artifacts
from app.workflows.local.attempts import Attempt
from app.workflows.local.budgets import Accounts, LocalSpending
from app.workflows.local.history import RunStatus, StepRecord
from app.workflows.local.people import NobodyThere
from app.workflows.local.runs import OpenRun
from app.workflows.local.steps import Steps
from app.workflows.places import step_at
from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.replaying import replay
from app.workflows.run import Execute, Run
from app.workflows.steps.retrying import delay_before_retry, is_patient, retries_of
from app.workflows.view import CANCELLED, Ended, Fault, Values

log = structlog.get_logger(__name__)

# How often somebody who cancels is looked for, in seconds.
CANCEL_POLL = 0.2
# Between two writes of `state.json`: at least so long, and so many times what the last one took.
SAVE_PAUSE, SAVE_SHARE = 0.5, 20
_STATUS = {End.SUCCEEDED: RunStatus.SUCCEEDED, End.CANCELLED: RunStatus.CANCELLED}


@dataclass(frozen=True, slots=True)
class Means:
    """What a runner works with; ``jitter`` is uniform in [0, 1)."""

    values: Values
    steps: Steps
    new_meter: Callable[[], Meter]
    price: Price
    max_tokens: int
    concurrency: int = 8
    jitter: Callable[[], float] = random.random


class Runner:
    """One process's work on one run."""

    def __init__(self, opened: OpenRun, plan: Plan, means: Means) -> None:
        self._opened = opened
        self._plan = plan
        self._means = means
        self._accounts = Accounts(plan, opened.history)
        self._slots = asyncio.Semaphore(means.concurrency)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: asyncio.Queue[tuple[str, Ended | NobodyThere | Exception]] = asyncio.Queue()
        self._deadlines: dict[str, float] = {}
        self._is_cancelling = False
        self._settled = 0
        self._save_at = 0.0

    async def run(self, inputs: Mapping[str, Any]) -> RunStatus:
        """Until it has ended, or nothing can be done without a person. Cancelled, the run is left to be resumed."""
        run = await self._restored(inputs)
        poll = asyncio.create_task(self._poll_cancel(run))
        try:
            self._start(run, self._left_over(run))
            while self._tasks or not self._ended.empty():
                self._take(run, *await self._ended.get())
            return await self._conclude(run)
        except asyncio.CancelledError:
            self._opened.note("run.interrupted")
            raise
        finally:
            poll.cancel()
            await self._stop_all()
            self._opened.save()

    async def _restored(self, inputs: Mapping[str, Any]) -> Run:
        history = self._opened.history
        created = history.created
        constants = {
            "inputs": inputs,
            "run": {"id": created["execution_id"], "trace_id": created["trace_id"], "tenant": created["tenant"]},
        }
        ends = [told async for told in self._opened.ends()]
        cancelled_after = history.cancelled_after
        self._is_cancelling = cancelled_after is not None
        return replay(self._plan, self._means.values, constants, ends, cancelled_after=cancelled_after)

    def _left_over(self, run: Run) -> list[Execute]:
        """What is to be carried out now. What ran when the run was cancelled, and died with its process, is over."""
        stopped = run.cancel() if self._is_cancelling else []
        for path in stopped:
            self._ended.put_nowait((path, self._end_cancelled(path)))
        return [execute for execute in run.open if execute.path not in stopped]

    def _start(self, run: Run, commands: list[Execute]) -> None:
        self._note_settled(run)
        for execute in commands:
            self._tasks[execute.path] = asyncio.create_task(self._carry_out(execute), name=execute.path)

    def _take(self, run: Run, path: str, outcome: Ended | NobodyThere | Exception) -> None:
        self._tasks.pop(path, None)
        if isinstance(outcome, Exception):
            if not isinstance(outcome, NobodyThere):
                raise outcome
            self._opened.note("step.waits", path=path, **{"for": outcome.waits_for})
            return
        self._start(run, run.end(path, outcome))
        self._save_now_and_then()

    async def _conclude(self, run: Run) -> RunStatus:
        result = run.result
        if result is None:
            self._opened.note("run.waiting")
            return RunStatus.WAITING
        evidence = self._opened.evidence
        ref = None if result.output is None else await evidence.put(evidence.outputs, result.output)
        status = _STATUS.get(result.end, RunStatus.FAILED)
        self._opened.note(
            "run.ended",
            status=status.value,
            outputs=asdict(ref) if ref else None,
            error=asdict(result.error) if result.error else None,
        )
        self._opened.seal()
        return status

    async def _stop_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _poll_cancel(self, run: Run) -> None:
        for _ in count():
            if self._opened.evidence.cancel_request.exists():
                return self._cancel(run)
            await asyncio.sleep(CANCEL_POLL)
        return None

    def _cancel(self, run: Run) -> None:
        if self._is_cancelling:
            return
        self._is_cancelling = True
        self._opened.note("run.cancelled")
        for path in run.cancel():
            if path in self._tasks:
                self._tasks[path].cancel()
            else:
                # It waits for somebody, and nobody works on it.
                self._ended.put_nowait((path, self._end_cancelled(path)))
        self._note_settled(run)

    def _note_settled(self, run: Run) -> None:
        """Steps that ended without having been carried out."""
        for path, ended in islice(run.ends.items(), self._settled, None):
            if self._opened.history.step(path).end is None:
                step = step_at(self._plan, path)
                error = asdict(ended.error) if ended.error else None
                kind = step.kind if step else None
                self._opened.note("step.settled", path=path, kind=kind, end=ended.end.value, error=error)
        self._settled = len(run.ends)

    async def _carry_out(self, execute: Execute) -> None:
        try:
            outcome: Ended | NobodyThere | Exception = await self._attempts(execute)
        except asyncio.CancelledError:
            if not self._is_cancelling:
                raise
            outcome = self._end_cancelled(execute.path)
        except Exception as error:  # noqa: BLE001 - a full disk, say: it is raised where the run is driven
            outcome = error
        self._ended.put_nowait((execute.path, outcome))

    async def _attempts(self, execute: Execute) -> Ended:
        known, spec = self._opened.history.step(execute.path), retries_of(execute.step, execute.workflow.defaults)
        while True:
            last = known.attempts[-1].error if known.attempts else None
            feedback = last["message"] if last and last["type"] == AgentOutputInvalid.code else None
            async with self._slot(execute.step):
                attempt = self._begin(execute, known, feedback)
                try:
                    output, artifacts = await self._try(attempt)
                except OrchestratorError as failure:
                    error = failure
                else:
                    return await self._end(attempt, End.SUCCEEDED, output, None, artifacts)
            failures = known.failures + 1
            tries, jitter = len(known.attempts), self._means.jitter()
            delay = delay_before_retry(spec, error, failures=failures, tries=tries, jitter=jitter)
            if delay is None:
                return await self._end(attempt, End.FAILED, error.details.get("output"), error, {})
            self._opened.note(
                "attempt.failed",
                path=execute.path,
                error={"type": error.code, "message": error.message},
                retry_in=round(delay.total_seconds(), 3),
                **attempt.evidence(),
            )
            await asyncio.sleep(delay.total_seconds())

    def _begin(self, execute: Execute, known: StepRecord, feedback: str | None) -> Attempt:
        goes_on = is_patient(execute.step) and bool(known.attempts) and known.attempts[-1].finished_at is None
        number = len(known.attempts) + (not goes_on)
        if not goes_on:
            self._opened.note("attempt.started", path=execute.path, kind=execute.step.kind, attempt=number)
        began_at = datetime.fromisoformat(known.attempts[0].started_at)
        means = self._means
        note = partial(self._opened.note, "attempt.spent", path=execute.path, attempt=number)
        accounts = self._accounts.of(execute)
        spending = LocalSpending(accounts, price=means.price, max_tokens=means.max_tokens, note=note)
        folder = self._opened.evidence.step(execute.path)
        return Attempt(execute, number, began_at, folder, spending, means.new_meter(), feedback)

    async def _try(self, attempt: Attempt) -> tuple[Any, dict[str, Any]]:
        """A checked output, and what is kept besides. Raises `NobodyThere` or the step's error."""
        await self._means.steps.permit(attempt)
        output = await self._within_limits(attempt)
        check_contract(attempt.execute.step, output)
        return output, await kept_artifacts(attempt.execute, output, self._means.values, self._opened.evidence)

    async def _within_limits(self, attempt: Attempt) -> Any:
        try:
            async with asyncio.timeout(self._seconds_for(attempt.execute)) as allowed:
                if is_patient(attempt.execute.step):
                    return await self._run_step(attempt)
                return await attempt.spending.timed(lambda: self._run_step(attempt))
        except TimeoutError as error:
            if not allowed.expired():
                raise
            raise AttemptTimeout("the step took longer than its timeout") from error

    async def _run_step(self, attempt: Attempt) -> Any:
        try:
            return await self._means.steps.run(attempt)
        except (OrchestratorError, NobodyThere):
            raise
        except Exception as error:  # the edge to the code of agents and tools
            log.exception("step.crashed", path=attempt.path)
            who = attempt.agent or attempt.execute.step.kind
            raise OrchestratorError(f"{who} raised {type(error).__name__}") from error

    def _seconds_for(self, execute: Execute) -> float | None:
        """Until the first limit: the step's own, per attempt, or that of a step around it, from its first attempt."""
        step, now = execute.step, asyncio.get_running_loop().time()
        own = step.timeout or (None if is_patient(step) else execute.workflow.defaults.timeout)
        limits = [] if own is None else [own.total_seconds()]
        for path, around in execute.around:
            if around is not step and around.timeout is not None:
                ends_at = self._deadlines.setdefault(path, now + around.timeout.total_seconds())
                limits.append(max(ends_at - now, 0))
        return min(limits, default=None)

    @asynccontextmanager
    async def _slot(self, step: Step) -> AsyncIterator[None]:
        async with contextlib.nullcontext() if is_patient(step) else self._slots:
            yield

    async def _end(
        self, attempt: Attempt, end: End, output: Any, error: OrchestratorError | None, artifacts: dict[str, Any]
    ) -> Ended:
        evidence = self._opened.evidence
        ref = None if output is None else await evidence.put(attempt.folder / "output.json", output)
        fault = Fault(error.code, error.message) if error else None
        self._opened.note(
            "step.ended",
            path=attempt.path,
            kind=attempt.execute.step.kind,
            end=end.value,
            error={"type": fault.type, "message": fault.message} if fault else None,
            output=asdict(ref) if ref else None,
            artifacts=artifacts,
            **attempt.evidence(),
        )
        return Ended(end, output, fault, attempt.number)

    def _end_cancelled(self, path: str) -> Ended:
        step = step_at(self._plan, path)
        kind = step.kind if step else None
        self._opened.note("step.ended", path=path, kind=kind, end=End.CANCELLED.value, error=None, output=None)
        return CANCELLED

    def _save_now_and_then(self) -> None:
        began = time.monotonic()
        if began >= self._save_at:
            self._opened.save()
            took = time.monotonic() - began
            self._save_at = began + max(SAVE_PAUSE, SAVE_SHARE * took)
