"""What an execution and its steps promise each other, for `orchestrate verify`."""

import math
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.invariants.models import FIELDS, Offender, Watched, offenders
from app.jobs.models import FINAL, OPEN, Status

# No portable query joins two collections, so the newest of each status are looked at, and of what waits the oldest.
SAMPLE_OF_EACH = 100
MOST_UNHEARD = 500
_FINAL = sorted(status.value for status in FINAL)
_OPEN = sorted(status.value for status in OPEN)
_OF_STEPS = (*FIELDS, "execution_id", "path")


class _Patient:
    """What is broken for a moment while it is being healed, and counts only when its ``patience`` is over."""

    def __init__(self, executions: Watched, steps: Watched, *, clock: Clock, patience: timedelta) -> None:
        self._executions = executions
        self._steps = steps
        self._clock = clock
        self._patience = patience

    @property
    def _long_ago(self) -> datetime:
        return self._clock() - self._patience


class OpenAfterEnd(_Patient):
    """Whoever drives an execution to its end has ended every step; if nobody did, the upkeep cancels them.

    Its patience counts from the end of the execution.
    """

    name = "step_outlives_execution"
    promise = "a step ends before its execution, or is cancelled after it"

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        ended: list[str] = []
        for status in FINAL:
            where = {"status": status.value, "completed_at": {"$lte": self._long_ago}}
            ended += [one["_id"] for one in await _sample(self._executions, where, by="completed_at")]
        open_ = {"execution_id": {"$in": ended}, "ended_seq": None, "status": {"$in": _OPEN}}
        return _of_steps(self._steps, await self._steps.documents.find_many(open_, limit=limit, fields=_OF_STEPS))


class Homeless:
    """Steps are deleted before their execution."""

    name = "step_without_execution"
    promise = "every step belongs to an execution that is there"

    def __init__(self, executions: Watched, steps: Watched) -> None:
        self._executions = executions
        self._steps = steps

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        found: list[Document] = []
        for status in sorted(Status):
            by = "completed_at" if status.is_final else "not_before"
            found += await _sample(self._steps, {"status": status.value}, by=by, fields=_OF_STEPS)
        there = await _statuses(self._executions.documents, found)
        return _of_steps(self._steps, [step for step in found if step["execution_id"] not in there])[:limit]


class Stuck(_Patient):
    """An execution is put aside while one of its steps has not ended, and woken when it does."""

    name = "stuck_execution"
    promise = "an execution that is put aside has a step to wait for"

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        aside = {
            "status": Status.AWAITING_APPROVAL.value,
            "paused_at": None,
            "updated_at": {"$lte": self._long_ago},
        }
        found = {
            one["_id"]: one
            for direction in (1, -1)
            for one in await _sample(self._executions, aside, by="not_before", direction=direction)
        }
        return offenders(self._executions, [one for one in found.values() if not await self._waits(one["_id"])])[:limit]

    async def _waits(self, execution_id: str) -> bool:
        # Also for a step that ended and whose end was not heard: that is a promise of its own.
        unheard = {"execution_id": execution_id, "ended_seq": None}
        return await self._steps.documents.find_one(unheard, fields=["_id"]) is not None


class Unheard(_Patient):
    """Whoever ends a step wakes its execution, and the upkeep does so if he died before.

    Its patience counts from the end of the step.
    """

    name = "unheard_step"
    promise = "an execution is woken when a step of it has ended"

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        before = self._long_ago
        unheard = {"heard": False, "status": {"$in": _FINAL}, "updated_at": {"$lte": before}}
        found = await self._steps.documents.find_many(unheard, limit=MOST_UNHEARD, fields=_OF_STEPS)
        # One that is queued or driven will hear of it.
        asleep = await _statuses(self._executions.documents, found, put_aside_before=before)
        return _of_steps(self._steps, [step for step in found if step["execution_id"] in asleep])[:limit]


class CostsAreNumbers:
    name = "cost_not_finite"
    promise = "what the newest executions cost are finite numbers, none below zero"

    def __init__(self, executions: Watched) -> None:
        self._executions = executions

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        found: list[Offender] = []
        for status in sorted(Status):
            by = "completed_at" if status.is_final else "not_before"
            sample = await _sample(self._executions, {"status": status.value}, by=by, fields=(*FIELDS, "cost"))
            for execution in sample:
                if wrong := _wrong_in(execution.get("cost") or {}):
                    found += offenders(self._executions, [execution], wrong=wrong)
        return found[:limit]


async def _sample(
    jobs: Watched, where: Mapping[str, Any], *, by: str, direction: int = -1, fields: Collection[str] = FIELDS
) -> list[Document]:
    return await jobs.documents.find_many(where, sort=((by, direction),), limit=SAMPLE_OF_EACH, fields=tuple(fields))


async def _statuses(
    executions: Documents, steps: Collection[Document], *, put_aside_before: datetime | None = None
) -> frozenset[str]:
    """Which of the executions of these steps are there; or of those, which have been put aside for a while."""
    ids = sorted({step["execution_id"] for step in steps})
    where: dict[str, Any] = {"_id": {"$in": ids}}
    if put_aside_before is not None:
        where |= {"status": Status.AWAITING_APPROVAL.value, "updated_at": {"$lte": put_aside_before}}
    return frozenset(one["_id"] for one in await executions.find_many(where, limit=max(len(ids), 1), fields=["_id"]))


def _of_steps(steps: Watched, documents: Collection[Document]) -> list[Offender]:
    return [
        one
        for document in documents
        for one in offenders(steps, [document], execution_id=document["execution_id"], path=document["path"])
    ]


def _wrong_in(cost: Mapping[str, Any]) -> str | None:
    return ", ".join(sorted(name for name, amount in cost.items() if not _is_amount(amount))) or None


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0
