"""Events from outside, kept until a step waits for them.

A signal is stored before anything else, then consumed by one waiting step, then that step ends. Whoever dies in between
leaves enough behind for the next delivery to go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.durations import LONGEST_DURATION
from app.errors import Conflict, Invalid
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.models import SIGNALS
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.planner import End
from app.workflows.view import Ended

INDEXES = (
    Index(SIGNALS, (("execution_id", 1), ("delivered", 1), ("created_at", 1))),
    Index(SIGNALS, (("expires_at", 1),), {"expireAfterSeconds": 0}),
)
MOST_KEPT = 1000
OLDEST_FIRST = (("created_at", 1), ("_id", 1))


class TooManySignals(Conflict):
    code = "TOO_MANY_SIGNALS"
    title = "Too many signals"


@dataclass(frozen=True, slots=True)
class Signal:
    event: str
    key: str | None
    data: Any

    def as_json(self) -> dict[str, Any]:
        return {"event": self.event, "key": self.key, "data": self.data}


class SignalBox:
    def __init__(
        self,
        documents: Documents,
        repository: ExecutionRepository,
        conclusions: Conclusions,
        values: ValueStore,
        *,
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._repository = repository
        self._conclusions = conclusions
        self._values = values
        self._clock = clock

    async def send(self, tenant_id: str, execution_id: str, signal: Signal, *, by: str, signal_id: str) -> bool:
        """Whether a step has taken it; else it is kept for one. The same ``signal_id`` again sends nothing new.

        Raises `TooManySignals`, and `Invalid` for what breaks the contract of the step that waits for it.
        """
        documents = self._documents.of_tenant(tenant_id)
        if not await documents.find_one({"_id": signal_id}, fields=["_id"]):
            await self._check(tenant_id, execution_id, signal)
            await self._keep(tenant_id, execution_id, signal, by=by, signal_id=signal_id)
        await self.deliver(tenant_id, execution_id)
        found = await documents.find_one({"_id": signal_id}, fields=["consumed_by"])
        return found is not None and found["consumed_by"] is not None

    async def deliver(self, tenant_id: str, execution_id: str) -> int:
        """How many steps have ended by events that were kept for them: the oldest event first."""
        signals = await self._undelivered(tenant_id, execution_id)
        if not signals:
            return 0
        kept = {(one["event"], one["key"]) for one in signals}
        found = await self._repository.list_waiting_for_events(tenant_id, execution_id, kept)
        waiting = {one["_id"]: one for one in found}
        ended = 0
        for signal in signals:
            step = await self._taker(signal, waiting)
            if step is not None:
                del waiting[step["_id"]]
                ended += await self._hand_over(signal, step)
        return ended

    async def _check(self, tenant_id: str, execution_id: str, signal: Signal) -> None:
        where = {"execution_id": execution_id, "delivered": False}
        if await self._documents.of_tenant(tenant_id).count(where, limit=MOST_KEPT) >= MOST_KEPT:
            message = f"{MOST_KEPT} signals wait already, and no step of the execution has taken them"
            raise TooManySignals(message)
        sent = [(signal.event, signal.key)]
        for step in await self._repository.list_waiting_for_events(tenant_id, execution_id, sent):
            if _fits(step["waits_for"], signal.event, signal.key):
                ended = await self._conclusions.checked(step, Ended(End.SUCCEEDED, signal.as_json()))
                if ended.error:
                    raise Invalid(f"{step['path']}: {ended.error.message}", field="data")
                return

    async def _keep(self, tenant_id: str, execution_id: str, signal: Signal, *, by: str, signal_id: str) -> None:
        now = self._clock()
        document = {
            "_id": signal_id,
            "tenant_id": tenant_id,
            "execution_id": execution_id,
            "event": signal.event,
            "key": signal.key,
            "data": await self._values.put(values_place_of(tenant_id, execution_id), signal.data),
            "created_at": now,
            "created_by": by,
            "consumed_by": None,
            "delivered": False,
            # No step waits longer.
            "expires_at": now + LONGEST_DURATION,
        }
        try:
            await self._documents.insert(document)
        except DuplicateDocument:
            return

    async def _undelivered(self, tenant_id: str, execution_id: str) -> list[Document]:
        where = {"execution_id": execution_id, "delivered": False}
        return await self._documents.of_tenant(tenant_id).find_many(where, limit=MOST_KEPT, sort=OLDEST_FIRST)

    async def _taker(self, signal: Document, waiting: Mapping[str, Document]) -> Document | None:
        """The step that this signal is for now, and consumed by."""
        if taken := signal["consumed_by"]:
            if taken in waiting:
                return waiting[taken]
            if await self._is_over(signal, taken):
                return None
        fitting = (one for one in waiting.values() if _fits(one["waits_for"], signal["event"], signal["key"]))
        step = next(fitting, None)
        if step is None or not await self._change(signal, {"consumed_by": None}, {"consumed_by": step["_id"]}):
            return None
        return step

    async def _hand_over(self, signal: Document, step: Document) -> bool:
        data = await self._values.get(values_place_of(signal["tenant_id"], signal["execution_id"]), signal["data"])
        output = Signal(signal["event"], signal["key"], data).as_json()
        ended = await self._conclusions.checked(step, Ended(End.SUCCEEDED, output))
        if await self._conclusions.end(step, ended, signal_id=signal["_id"]):
            await self._change(signal, {}, {"delivered": True})
            return True
        await self._is_over(signal, step["_id"])
        return False

    async def _is_over(self, signal: Document, step: str) -> bool:
        """Of a signal whose step has ended: whether it ended by it. Else the signal is given back."""
        if await self._repository.find_signal_of(signal["tenant_id"], step) == signal["_id"]:
            await self._change(signal, {}, {"delivered": True})
            return True
        await self._change(signal, {"consumed_by": step}, {"consumed_by": None})
        return False

    async def _change(self, signal: Document, where: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
        documents = self._documents.of_tenant(signal["tenant_id"])
        return await documents.update_one({**where, "_id": signal["_id"], "delivered": False}, {"$set": dict(fields)})


def _fits(waits_for: Mapping[str, Any], event: str, key: str | None) -> bool:
    wanted = waits_for.get("key")
    return waits_for.get("event") == event and (wanted is None or wanted == key)
