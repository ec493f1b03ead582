"""The `effects` collection: one document per key, written before the effect is fired and after it is known."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_never

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.errors import DuplicateDocument, StoreUnavailable
from app.database.indexes import Index
from app.effects.decision import Verdict, decide
from app.effects.errors import EffectNotFound, EffectNotUncertain, EffectUncertain
from app.effects.models import Effect, EffectStatus, Firing, Intent
from app.errors import LeaseLost
from app.jobs.history import read_error
from app.jobs.models import JobError

COLLECTION = "effects"
INDEXES = (
    Index(COLLECTION, (("tenant_id", 1), ("task_id", 1), ("started_at", 1), ("_id", 1))),
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),
)
OLDEST_FIRST: Sort = (("started_at", 1), ("_id", 1))
LONGEST_MESSAGE = 500
# Each round is lost only to somebody who moved the same effect in between.
_ROUNDS = 5


class EffectLedger:
    """Every change is one conditional write, guarded by the number of the firing it belongs to.

    Nothing is kept longer than ``lifetime`` after the last write: a task that is retried later may repeat its effects.
    """

    def __init__(self, documents: Documents, *, clock: Clock, lifetime: timedelta) -> None:
        self._documents = documents
        self._clock = clock
        self._lifetime = lifetime

    async def begin(self, intent: Intent) -> Firing | Effect:
        """The right to fire, written down before it is used; or the effect itself when it was done before.

        Raises `EffectUncertain` when only a person can say whether it happened, and `LeaseLost` when a later attempt
        has taken it over.
        """
        documents = self._documents.of_tenant(intent.tenant_id)
        for _ in range(_ROUNDS):
            try:
                await documents.insert(self._first(intent))
            except DuplicateDocument:
                pass
            else:
                return Firing(intent, 1)
            found = await self._find(intent.tenant_id, intent.task_id, intent.key)
            answer = None if found is None else await self._go_on(found, intent)
            if answer is not None:
                return answer
        raise StoreUnavailable("this effect is contended; try again in a moment")

    async def mark_done(self, firing: Firing, *, result: str | None, error: JobError | None = None) -> None:
        """It happened. ``result`` is JSON text; ``error`` says why there is none. Raises `LeaseLost`."""
        await self._mark(firing, {"status": EffectStatus.DONE.value, "result": result, "error": _plain(error)})

    async def mark_failed(self, firing: Firing, error: JobError) -> None:
        """It certainly did not happen. Raises `LeaseLost`."""
        await self._mark(firing, {"status": EffectStatus.FAILED.value, "error": _plain(error)})

    async def resolve(self, tenant_id: str, seen: Effect, *, happened: bool, by: str) -> Effect:
        """What a person found out about a started effect. Raises `EffectNotUncertain` when it has moved on since."""
        documents, now = self._documents.of_tenant(tenant_id), self._clock()
        unmoved = {"_id": seen.key, "status": EffectStatus.STARTED.value, "firings": seen.firings}
        status = EffectStatus.DONE if happened else EffectStatus.FAILED
        change = {"status": status.value, "finished_at": now, "resolved_by": by, "expires_at": now + self._lifetime}
        changed = await documents.change_one(unmoved, {"$set": change})
        if changed is None:
            raise EffectNotUncertain(f"effect {seen.key} has changed meanwhile; look at it again", key=seen.key)
        return to_effect(changed)

    async def get(self, tenant_id: str, task_id: str, key: str) -> Effect:
        found = await self._find(tenant_id, task_id, key)
        if found is None:
            raise EffectNotFound(f"task {task_id} has no effect {key[:64]!r}", key=key[:64])
        return found

    async def list_of_task(self, tenant_id: str, task_id: str, *, limit: int) -> list[Effect]:
        """In the order in which they were first started."""
        found = await self._documents.of_tenant(tenant_id).find_many(
            {"task_id": task_id}, limit=limit, sort=OLDEST_FIRST
        )
        return [to_effect(document) for document in found]

    async def _find(self, tenant_id: str, task_id: str, key: str) -> Effect | None:
        found = await self._documents.of_tenant(tenant_id).find_one({"_id": key, "task_id": task_id})
        return None if found is None else to_effect(found)

    async def _go_on(self, found: Effect, intent: Intent) -> Firing | Effect | None:
        """None when it moved under our eyes, so that it has to be looked at again."""
        verdict = decide(found, intent)
        match verdict:
            case Verdict.REPLAY:
                return found
            case Verdict.FIRE:
                return await self._take_over(found, intent, is_doubtful=False)
            case Verdict.FIRE_AGAIN:
                return await self._take_over(found, intent, is_doubtful=True)
            case Verdict.UNCERTAIN:
                raise uncertain(found.name, found.key, found.task_id, attempt=found.attempt)
            case Verdict.STALE:
                raise LeaseLost(f"a later attempt performs effect {found.key}", job_id=found.task_id)
            case _:
                assert_never(verdict)

    async def _take_over(self, found: Effect, intent: Intent, *, is_doubtful: bool) -> Firing | None:
        unmoved = {"_id": found.key, "status": found.status.value, "firings": found.firings}
        change = {"$set": self._started(intent), "$inc": {"firings": 1}}
        taken = await self._documents.of_tenant(intent.tenant_id).update_one(unmoved, change)
        return Firing(intent, found.firings + 1, is_doubtful) if taken else None

    async def _mark(self, firing: Firing, fields: Mapping[str, Any]) -> None:
        intent, now = firing.intent, self._clock()
        # The firing, not the key, proves ownership: an attempt that stalled must not speak for the one after it.
        mine = {"_id": intent.key, "firings": firing.number}
        open_one = {**mine, "status": EffectStatus.STARTED.value}
        change = {**fields, "finished_at": now, "expires_at": now + self._lifetime}
        documents = self._documents.of_tenant(intent.tenant_id)
        if await documents.update_one(open_one, {"$set": change}):
            return
        # A write whose answer was lost is repeated, and finds its own work.
        if not await documents.update_one({**mine, "status": fields["status"]}, {"$set": {"finished_at": now}}):
            raise LeaseLost(f"effect {intent.key} is no longer this attempt's", job_id=intent.task_id)

    def _first(self, intent: Intent) -> Document:
        return {
            "_id": intent.key,
            "task_id": intent.task_id,
            "name": intent.name,
            "step": intent.step,
            "firings": 1,
            "started_at": self._clock(),
            **self._started(intent),
        }

    def _started(self, intent: Intent) -> Document:
        now = self._clock()
        return {
            "status": EffectStatus.STARTED.value,
            "digest": intent.digest,
            "attempt": intent.attempt,
            "fence": intent.fence,
            "lease": intent.lease,
            "fired_at": now,
            "finished_at": None,
            "result": None,
            "error": None,
            "resolved_by": None,
            "expires_at": now + self._lifetime,
        }


def uncertain(name: str, key: str, task_id: str, *, attempt: int) -> EffectUncertain:
    message = (
        f"nobody knows whether {name!r} happened: attempt {attempt} ended while it was under way. Ask its receiver for "
        f"the key {key}, say what you found with `orchestrate tasks effects {task_id} --resolve {key}` and "
        "--happened or --not-happened, then retry the task"
    )
    return EffectUncertain(message, key=key, name=name)


def to_effect(document: Document) -> Effect:
    return Effect(
        key=document["_id"],
        task_id=document["task_id"],
        name=document["name"],
        step=document["step"],
        digest=document["digest"],
        status=EffectStatus(document["status"]),
        attempt=document["attempt"],
        fence=document["fence"],
        firings=document["firings"],
        started_at=document["started_at"],
        fired_at=document["fired_at"],
        finished_at=document["finished_at"],
        result=document["result"],
        error=read_error(document["error"]),
        resolved_by=document["resolved_by"],
    )


def _plain(error: JobError | None) -> dict[str, str] | None:
    return None if error is None else {"type": error.type, "message": error.message[:LONGEST_MESSAGE]}
