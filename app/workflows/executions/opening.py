"""Brings an execution into memory: anew, or from what is stored of its steps."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.jobs.history import count_claims
from app.jobs.models import FINAL, Job, Status
from app.workflows.executions.drive import Drive
from app.workflows.executions.journal import Instance, Journal, is_ending
from app.workflows.executions.models import FIRST_SERIES, ForkOriginGone, Waits
from app.workflows.executions.plans import PlanSource
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.places import enclosing
from app.workflows.plan import Plan
from app.workflows.replaying import WorkflowMismatch, ends_before, replay
from app.workflows.run import Run
from app.workflows.view import Ended, Values

# Ends that take more than a few hundredths of a second to be replayed.
MANY = 1000
_FINAL = frozenset(status.value for status in FINAL)
Told = tuple[Document, Ended]


class Opener:
    def __init__(
        self,
        plans: PlanSource,
        expressions: Values,
        executions: Documents,
        journal: Journal,
        values: ValueStore,
        *,
        clock: Clock,
    ) -> None:
        self._plans = plans
        self._expressions = expressions
        self._executions = executions
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
            await self._take_over(execution, plan, constants)
        documents = [document async for document in self._journal.read_all(execution.id)]
        drive = await self._rebuilt(execution, plan, constants, documents)
        # What ended between the reading and this is found at the first look.
        running = [one["_id"] for one in documents if one["status"] == Status.PROCESSING.value]
        # And those that an opener before this one had marked, so that the marks go.
        drive.watched = {*running, *(one["_id"] for one in documents if one.get("watched"))}
        await self._journal.watch(running)
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
        place = values_place_of(execution.tenant_id, execution.id)
        inputs = await self._values.get(place, execution.document["inputs"])
        run = {"id": execution.id, "trace_id": execution.trace_id, "tenant": execution.tenant_id}
        return {"inputs": inputs, "run": run}

    def _drive(self, execution: Job, plan: Plan, run: Run, *, next_seq: int) -> Drive:
        return Drive(execution, plan, run, next_seq=next_seq)

    async def _replayed(self, plan: Plan, constants: Mapping[str, Any], ends: list[tuple[str, Ended]]) -> Run:
        if len(ends) < MANY:
            return replay(plan, self._expressions, constants, ends)
        # The other jobs of this worker go on meanwhile.
        return await asyncio.to_thread(replay, plan, self._expressions, constants, ends)

    async def _rebuilt(
        self, execution: Job, plan: Plan, constants: Mapping[str, Any], documents: list[Document]
    ) -> Drive:
        series = execution.document["series"]
        told = [(one, await self._journal.ended_of(one)) for one in documents if one["status"] in _FINAL]
        before = self._standing(plan, constants, [one for one in told if one[0]["series"] != series])
        ended = before + [one for one in told if one[0]["series"] == series]
        ended.sort(key=lambda told: told[0]["ended_seq"] or told[0]["seq"])
        run = await self._replayed(plan, constants, [(one["path"], end) for one, end in ended])
        drive = self._drive(execution, plan, run, next_seq=_next_seq(execution, documents))
        for one, end in ended:
            drive.known.add(one["path"])
            drive.tally.add(end)
        for one in documents:
            drive.tally.charge(one["_id"], one["attempts"])
            if one["status"] not in _FINAL and one["series"] != series:
                drive.outdated.append(one["_id"])
            if one["status"] not in _FINAL and one["series"] == series:
                drive.known.add(one["path"])
                drive.away[one["path"]] = waits_of(one)
            drive.note_begun(one["path"], one["created_at"])
        drive.tally.begun = len(drive.known)
        drive.add(execute for execute in run.open if execute.path not in drive.away)
        if not execution.document.get("begun_at"):
            drive.note("started", self._clock())
        elif series > FIRST_SERIES and not any(entry.get("series") == series for entry in drive.log):
            drive.note("retried", self._clock(), by=execution.document.get("retried_by"), series=series)
        drive.must_look = True
        return drive

    async def _take_over(self, execution: Job, plan: Plan, constants: Mapping[str, Any]) -> None:
        """Store the finished steps of the execution that this one was forked from; again, it changes nothing."""
        fork = execution.document["forked_from"]
        origin = self._journal.read_all(fork["execution_id"])
        told = [(one, await self._journal.ended_of(one)) async for one in origin if one["status"] in _FINAL]
        await self._check_there(execution.tenant_id, fork["execution_id"])
        kinds = {one["path"]: one["kind"] for one, _ in told}
        standing = [(one["path"], end) for one, end in self._standing(plan, constants, told)]
        for number, (path, end) in enumerate(ends_before(plan, fork["step"], standing)):
            instance = Instance(path, kinds[path], 2 * number + 1, reused_from=fork["execution_id"])
            await self._journal.note(execution, instance, replace(end, attempts=0), 2 * number + 2)

    async def _check_there(self, tenant_id: str, origin: str) -> None:
        """An execution leaves its tenant before its steps are deleted: if it is there, what was read of it is all."""
        if await self._executions.of_tenant(tenant_id).find_one({"_id": origin}, fields=["_id"]) is None:
            message = f"execution {origin}, which this one was forked from, was deleted: execute the workflow anew"
            raise ForkOriginGone(message)

    def _standing(self, plan: Plan, constants: Mapping[str, Any], told: Sequence[Told]) -> list[Told]:
        """The newest end of each step, if it kept no other from starting; not of `finally`, which runs again."""
        newest = {one["path"]: (one, end) for one, end in told if not is_ending(one["path"])}
        ends: Mapping[str, Ended] = {}
        if any(not end.end.lets_on for _, end in newest.values()):
            ends = replay(plan, self._expressions, constants, [(path, end) for path, (_, end) in newest.items()]).ends
        return [(one, end) for path, (one, end) in newest.items() if end.end.lets_on or _is_tolerated(path, ends)]


def waits_of(document: Document) -> Waits | None:
    return Waits(document["waits_for"]["what"]) if document.get("waits_for") else None


def _is_new(execution: Job) -> bool:
    """Whether nobody can have driven it before."""
    own = execution.document
    untouched = own["series"] == FIRST_SERIES and own["forked_from"] is None and not own.get("begun_at")
    return untouched and count_claims(own["history"]) == 1


def _is_tolerated(path: str, ends: Mapping[str, Ended]) -> bool:
    """Whether others went on all the same: because of its own `on_error`, or by that of what it is inside of."""
    return any(around in ends and ends[around].end.lets_on for around in enclosing(path))


def _next_seq(execution: Job, documents: list[Document]) -> int:
    known = [seq for one in documents for seq in (one["seq"], one["ended_seq"]) if seq is not None]
    last: int = max([execution.document.get("last_seq") or 0, *known, *_logged(execution)])
    return last + 1


def _logged(execution: Job) -> list[int]:
    return [entry["seq"] for entry in execution.document.get("log") or []]
