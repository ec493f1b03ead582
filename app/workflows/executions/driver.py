"""Drives executions in one worker process: the kernel's handler of `executions`, and what follows when steps end.

An execution is held only while there is something to do. What it comes to is decided by the planner; what the planner
was told is in the store, so another process goes on where this one stops.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from app.cancellation import stop
from app.clock import Clock
from app.database.documents import Documents
from app.events.signals import Signals, Waiter
from app.jobs.models import Job, JobError, Reason
from app.jobs.outcomes import Cancelled, Failed, Finished, Outcome, Suspended, final_status
from app.jobs.runner import Attempt
from app.jobs.store import JobFinished, JobStore
from app.workflows.executions.drive import Drive
from app.workflows.executions.hearing import Hearing
from app.workflows.executions.models import step_id
from app.workflows.executions.opening import Opener
from app.workflows.executions.spreading import TICK
from app.workflows.executions.starting import Starter
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.executions.waking import attention_of
from app.workflows.planner import End
from app.workflows.view import CANCELLED, Fault

log = structlog.get_logger(__name__)

# How often who drives looks by himself for what he was not told, and how often he says how far it is.
LOOK = timedelta(seconds=2)
SAVE_PAUSE = 0.5
# Of steps on other workers, at the same time.
CANCELS = 50
# Of executions that wait, kept in memory: so many, with so many steps together.
MOST_KEPT, MOST_STEPS_KEPT = 200, 100_000
CONTROLS = ("cancel_wanted", "paused_at", "paused_by")
STOP_PATIENCE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a driver works with. ``stop_here`` stops a step that runs in this process."""

    opener: Opener
    starter: Starter
    hearing: Hearing
    values: ValueStore
    executions: Documents
    steps: JobStore
    signals: Signals
    clock: Clock
    stop_here: Callable[[str], None]


class Driver:
    def __init__(self, parts: Parts, carry_out: Callable[[Attempt], Awaitable[Outcome]]) -> None:
        """``carry_out`` does an attempt at a step."""
        self._parts = parts
        self._carry_out = carry_out
        self._active: dict[str, Drive] = {}
        self._kept: OrderedDict[str, Drive] = OrderedDict()

    def is_driving(self, execution_id: str) -> bool:
        return execution_id in self._active

    async def drive(self, attempt: Attempt) -> Outcome:
        """The kernel's handler of executions."""
        drive = await self._open(attempt.job)
        drive.confirm = lambda: attempt.save({})
        self._active[attempt.job.id] = drive
        try:
            outcome = await self._until_idle(drive, attempt)
            drive.is_active = False
            if isinstance(outcome, Suspended):
                self._keep(drive)
            return outcome
        finally:
            drive.is_active = False
            # One whose lease ran out may be slower to stop than its successor in this process is to begin.
            if self._active.get(attempt.job.id) is drive:
                del self._active[attempt.job.id]

    async def step(self, attempt: Attempt) -> Outcome:
        """The kernel's handler of steps. How one ends that runs beside its driver is heard with its last write."""
        outcome = await self._carry_out(attempt)
        drive = self._active.get(attempt.job.document["execution_id"])
        if drive is not None and attempt.job.id in drive.local:
            noted: Sequence[Mapping[str, Any]] = attempt.evidence.appended.get("attempts", ())
            drive.tally.charge(attempt.job.id, [*attempt.job.document["attempts"], *noted])
            if isinstance(outcome, Finished):
                attempt.evidence.fields.update(heard=True, ended_seq=drive.take_seq())
        return outcome

    def step_settled(self, job: Job, outcome: Outcome) -> None:
        """After the write that ended an attempt at a step."""
        execution_id = job.document["execution_id"]
        self._parts.signals.notify_soon(execution_id)
        drive = self._active.get(execution_id)
        if drive is not None and isinstance(outcome, Finished) and job.id in drive.local:
            drive.finished[job.id] = outcome.fields
        elif drive is not None and final_status(outcome) is not None:
            drive.must_look = True
            drive.news.set()

    async def has_news(self, execution_id: str) -> bool:
        """Whether something happened to a suspended execution that its last driver, in this process, did not see."""
        drive = self._kept.get(execution_id)
        if drive is None:
            return False
        found = await self._parts.executions.find_one({"_id": execution_id}, fields=CONTROLS)
        if found is None:
            return False
        if bool(found.get("cancel_wanted")) != drive.is_cancelled or bool(found.get("paused_at")) != drive.is_paused:
            return True
        return bool(await self._parts.hearing.journal.unheard(execution_id, watched=drive.watched))

    async def _open(self, execution: Job) -> Drive:
        kept = self._kept.pop(execution.id, None)
        if kept is not None and kept.token == execution.document.get("driven") and _follows_rest(execution):
            kept.execution, kept.is_active, kept.must_look = execution, True, True
            return kept
        drive = await self._parts.opener.open(execution)
        for step in drive.outdated:
            await self._cancel_step(drive, step)
        return drive

    def _keep(self, drive: Drive) -> None:
        self._kept[drive.execution.id] = drive
        while len(self._kept) > MOST_KEPT or sum(len(one.known) for one in self._kept.values()) > MOST_STEPS_KEPT:
            self._kept.popitem(last=False)

    async def _until_idle(self, drive: Drive, attempt: Attempt) -> Outcome:
        await self._heed(drive, drive.execution.document)
        with self._parts.signals.waiting_for(attention_of(drive.execution.id)) as waiter:
            listening = asyncio.create_task(_listen(drive, waiter))
            try:
                return await self._work(drive, attempt)
            finally:
                await stop(listening, patience=STOP_PATIENCE)

    async def _work(self, drive: Drive, attempt: Attempt) -> Outcome:
        save_at = asyncio.get_running_loop().time() + SAVE_PAUSE
        while True:
            await self._catch_up(drive)
            if drive.is_over:
                return await self._ended(drive, attempt)
            if not drive.is_paused:
                self._parts.starter.start(drive)
            if not drive.is_busy and not drive.must_look:
                return Suspended(fields=_rest_of(drive))
            if drive.is_busy:
                save_at = await self._save(drive, attempt, save_at)
                await _news(drive, save_at)

    async def _catch_up(self, drive: Drive) -> None:
        drive.news.clear()
        if drive.error is not None:
            raise drive.error
        if drive.must_look:
            await self._look(drive)
        if drive.to_stop:
            await self._stop_steps(drive)
        self._parts.hearing.note_settled(drive)

    async def _save(self, drive: Drive, attempt: Attempt, save_at: float) -> float:
        """Say how far it is, now and then."""
        now = asyncio.get_running_loop().time()
        if now < save_at or not drive.is_changed:
            return save_at
        await attempt.save(drive.as_fields())
        self._parts.signals.notify(drive.execution.id)
        return now + SAVE_PAUSE

    async def _ended(self, drive: Drive, attempt: Attempt) -> Outcome:
        result = drive.run.result
        assert result is not None  # noqa: S101
        drive.note("ended", self._parts.clock(), end=result.end.value)
        attempt.evidence.fields.update(drive.as_fields(), idle_for=None, driven=None)
        if result.end is End.CANCELLED:
            return Cancelled()
        if result.end is End.SUCCEEDED:
            place = values_place_of(drive.execution.tenant_id, drive.execution.id)
            outputs = await self._parts.values.put(place, result.output)
            return Finished({"outputs": outputs})
        fault = result.error or Fault("INTERNAL", "the workflow failed")
        attempt.evidence.fields["fault"] = fault.as_json()
        return Failed(JobError(fault.type, fault.message))

    async def _look(self, drive: Drive) -> None:
        """What came from outside: ends of steps, and what somebody wants of the execution."""
        drive.must_look = False
        await drive.confirm()
        await self._parts.hearing.hear_others(drive)
        found = await self._parts.executions.find_one({"_id": drive.execution.id}, fields=CONTROLS)
        if found is not None:
            await self._heed(drive, found)

    async def _heed(self, drive: Drive, wanted: Mapping[str, Any]) -> None:
        cancel, paused_at = wanted.get("cancel_wanted"), wanted.get("paused_at")
        if cancel and not drive.is_cancelled:
            drive.is_cancelled = True
            if not _is_logged(drive, "cancel_requested", cancel["at"]):
                drive.note("cancel_requested", cancel["at"], by=cancel.get("by"))
            await self._cancel(drive)
        if bool(paused_at) != drive.is_paused:
            drive.is_paused = bool(paused_at)
            if paused_at is None:
                drive.note("resumed", self._parts.clock())
            elif not _is_logged(drive, "paused", paused_at):
                drive.note("paused", paused_at, by=wanted.get("paused_by"))

    async def _cancel(self, drive: Drive) -> None:
        drive.to_stop.update(drive.run.cancel())
        for path in drive.drop(drive.to_stop):
            drive.tell(path, CANCELLED)
        await self._stop_steps(drive)

    async def _stop_steps(self, drive: Drive) -> None:
        """Stop what runs; what is being handed out at this moment is stopped as soon as it was."""
        drive.to_stop &= drive.run.running
        own, series = drive.execution, drive.execution.document["series"]
        elsewhere = []
        for path in list(drive.to_stop):
            step = step_id(own.id, series, path)
            if step in drive.local:
                self._parts.stop_here(step)
            elif path in drive.away:
                drive.to_stop.discard(path)
                elsewhere.append(step)
        for start in range(0, len(elsewhere), CANCELS):
            await asyncio.gather(*(self._cancel_step(drive, step) for step in elsewhere[start : start + CANCELS]))

    async def _cancel_step(self, drive: Drive, step: str) -> None:
        # One that ended meanwhile is heard of.
        with suppress(JobFinished):
            await self._parts.steps.cancel(drive.execution.tenant_id, step)
        drive.must_look = True


def _rest_of(drive: Drive) -> dict[str, Any]:
    """What is kept of an execution that is put aside."""
    rest = {"driven": drive.token, "idle_for": drive.idle_for(), "rests_paused": drive.is_paused}
    return {**drive.as_fields(), **rest}


def _follows_rest(execution: Job) -> bool:
    """Whether this is the first lease since the execution was put aside: under another one it may have gone on."""
    reasons = [entry["reason"] for entry in reversed(execution.document["history"])]
    since = reasons[: reasons.index(Reason.SUSPENDED.value)] if Reason.SUSPENDED.value in reasons else reasons
    return since.count(Reason.CLAIMED.value) == 1


def _is_logged(drive: Drive, event: str, at: Any) -> bool:
    return any(entry["event"] == event and entry["at"] == at for entry in drive.log)


async def _listen(drive: Drive, waiter: Waiter) -> None:
    while True:
        if await waiter.wait(LOOK):
            drive.must_look = True
            drive.news.set()


async def _news(drive: Drive, save_at: float) -> None:
    """Until something happened, something is to be saved, or what waits for room here may go elsewhere."""
    until = save_at if drive.is_changed else None
    if drive.work and not drive.is_paused:
        until = asyncio.get_running_loop().time() + TICK
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            await drive.news.wait()
