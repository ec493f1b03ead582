"""Brings an execution into memory: anew, or from what is stored of its steps."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.clock import Clock
from app.database.documents import Document
from app.jobs.history import count_claims
from app.jobs.models import FINAL, Job, Status
from app.workflows.executions.drive import Drive
from app.workflows.executions.journal import Instance, Journal, end_of, is_ending
from app.workflows.executions.models import FIRST_SERIES, Waits
from app.workflows.executions.plans import PlanSource
from app.workflows.executions.values import ValueStore, place_of
from app.workflows.plan import Plan
from app.workflows.replaying import WorkflowMismatch, ends_before, replay
from app.workflows.run import Run
from app.workflows.view import Ended, Values

_FINAL = frozenset(status.value for status in FINAL)
Told = tuple[Document, Ended]


class Opener:
    def __init__(
        self, plans: PlanSource, expressions: Values, journal: Journal, values: ValueStore, *, clock: Clock
    ) -> None:
        self._plans = plans
        self._expressions = expressions
        self._journal = journal
        self._values = values
        self._clock = clock

    async def open(self, execution: Job) -> Drive:
        """Where the execution stands. Raises `WorkflowNotFound`, `WorkflowMismatch`, and what the stores raise."""
        plan, constants = await self._plan_of(execution), await self._constants(execution)
        if _is_new(execution):
            run = Run(plan, self._expressions, constants)
            drive = self._drive(execution, plan, run, next_seq=1)
            drive.note("started", self._clock())
            drive.add(run.begin())
            return drive
        if execution.document["forked_from"] and not execution.document.get("begun_at"):
            await self._take_over(execution, plan)
        documents = [document async for document in self._journal.read_all(execution.id)]
        drive = await self._rebuilt(execution, plan, constants, documents)
        # What ended between the reading and this is found at the first look.
        drive.watched = {one["_id"] for one in documents if one["status"] == Status.PROCESSING.value}
        await self._journal.watch(list(drive.watched))
        return drive

    async def _plan_of(self, execution: Job) -> Plan:
        pin = execution.document["workflow"]
        plan = await self._plans.get(execution.tenant_id, pin["name"], pin["digest"])
        if plan.digest != pin["digest"]:
            raise WorkflowMismatch(
                "this version of the product reads the workflow in another way than the one that stored it: store it "
                "again, and fork the execution with `accept_changes`",
                recorded=pin["digest"],
                digest=plan.digest,
            )
        return plan

    async def _constants(self, execution: Job) -> dict[str, Any]:
        place = place_of(execution.tenant_id, execution.id)
        inputs = await self._values.get(place, execution.document["inputs"])
        run = {"id": execution.id, "trace_id": execution.trace_id, "tenant": execution.tenant_id}
        return {"inputs": inputs, "run": run}

    def _drive(self, execution: Job, plan: Plan, run: Run, *, next_seq: int) -> Drive:
        return Drive(execution, plan, run, next_seq=next_seq, now=time.monotonic())

    async def _rebuilt(
        self, execution: Job, plan: Plan, constants: Mapping[str, Any], documents: list[Document]
    ) -> Drive:
        series = execution.document["series"]
        ended = [
            (one, await self._journal.ended_of(one))
            for one in documents
            if one["status"] in _FINAL and _counts(one, series)
        ]
        ended.sort(key=lambda told: told[0]["ended_seq"] or told[0]["seq"])
        run = replay(plan, self._expressions, constants, ((one["path"], end) for one, end in ended))
        drive = self._drive(execution, plan, run, next_seq=_next_seq(execution, documents))
        for one, end in ended:
            drive.known.add(one["path"])
            drive.tally.add(end)
        for one in documents:
            drive.tally.charge(attempt["cost"] for attempt in one["attempts"] if attempt.get("cost"))
            if one["status"] not in _FINAL and one["series"] == series:
                drive.known.add(one["path"])
                drive.away[one["path"]] = waits_of(one)
            drive.begun[one["path"]] = min(one["created_at"], drive.begun.get(one["path"], one["created_at"]))
        drive.tally.begun = len(drive.known)
        drive.add(execute for execute in run.open if execute.path not in drive.away)
        if not execution.document.get("begun_at"):
            drive.note("started", self._clock())
        elif series > FIRST_SERIES and not any(entry.get("series") == series for entry in drive.log):
            drive.note("retried", self._clock(), by=execution.document.get("retried_by"), series=series)
        drive.must_look = True
        return drive

    async def _take_over(self, execution: Job, plan: Plan) -> None:
        """Store the finished steps of the execution that this one was forked from; again, it changes nothing."""
        fork = execution.document["forked_from"]
        told: dict[str, Told] = {}
        async for one in self._journal.read_all(fork["execution_id"]):
            if one["status"] in _FINAL and end_of(one).lets_on and not is_ending(one["path"]):
                told[one["path"]] = one, await self._journal.ended_of(one)
        kept = ends_before(plan, fork["step"], [(path, end) for path, (_, end) in told.items()])
        for number, (path, end) in enumerate(kept):
            instance = Instance(path, told[path][0]["kind"], 2 * number + 1, reused_from=fork["execution_id"])
            await self._journal.note(execution, instance, replace(end, attempts=0), 2 * number + 2)


def waits_of(document: Document) -> Waits | None:
    return Waits(document["waits_for"]["what"]) if document.get("waits_for") else None


def _is_new(execution: Job) -> bool:
    """Whether nobody can have driven it before."""
    own = execution.document
    untouched = own["series"] == FIRST_SERIES and own["forked_from"] is None and not own.get("begun_at")
    return untouched and count_claims(own["history"]) == 1


def _counts(document: Document, series: int) -> bool:
    """Whether a later series takes it over: not when it kept others from starting, nor of `finally`, which runs
    again."""
    if document["series"] == series:
        return True
    return end_of(document).lets_on and not is_ending(document["path"])


def _next_seq(execution: Job, documents: list[Document]) -> int:
    known = [seq for one in documents for seq in (one["seq"], one["ended_seq"]) if seq is not None]
    last: int = max([execution.document.get("last_seq") or 0, *known, *_logged(execution)])
    return last + 1


def _logged(execution: Job) -> list[int]:
    return [entry["seq"] for entry in execution.document.get("log") or []]


def earliest(begun: Mapping[str, datetime], path: str) -> datetime | None:
    """When the first instance at or below this path began, as far as is known."""
    within = (at for known, at in begun.items() if known == path or known.startswith((f"{path}.", f"{path}[")))
    return min(within, default=None)
