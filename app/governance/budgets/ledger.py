"""What was consumed, and what is reserved for calls that have not ended: one document per account, for all workers.

``{_id, tenant_id, committed: {counter: {unit: amount}}, held, open: [{id, task_id, at, counters, amounts}],
expires_at}``.

A reservation is one conditional write: it adds its estimate to what is committed where that is still below every
limit. So at most one call of an account can go beyond a limit, however many are made at once. Settling replaces the
estimate by what was really consumed. A reservation that nobody settles counts in full: its call may have been billed.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.errors import OrchestratorError
from app.governance.budgets.accounts import Account
from app.governance.budgets.models import NOTHING, Amounts, Limit, Shortage, Unit, plus
from app.ids import new_token

COLLECTION = "budget_accounts"
INDEXES = (
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),
    # Partial, so that the index holds what is being consumed and not what ever was.
    Index(COLLECTION, (("held", 1),), {"partialFilterExpression": {"held": {"$gt": 0}}}),
)
# Counted from the last reservation; it exceeds the longest period by far.
KEPT = timedelta(days=400)
# Bounds the document; so many calls of one tenant are in progress only where something is wrong.
MOST_OPEN = 5000
MOST_ACCOUNTS = 200
# An upsert may lose to another one, and a refusal may be over when it is looked at.
TRIES = 5
# What is abandoned has waited for minutes already.
PAUSE = timedelta(seconds=10)
BY_NAME: Sort = (("_id", 1),)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is reserved in one account."""

    id: str
    account_id: str
    tenant_id: str
    counters: tuple[str, ...]
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Consumption:
    """One counter: all that is committed, and the part of it that is reserved."""

    committed: Amounts
    reserved: Amounts


class BudgetLedger:
    """The accounts of all tenants."""

    def __init__(self, documents: Documents, *, clock: Clock, patience: timedelta) -> None:
        """``patience`` must exceed the longest call: after it a reservation has nobody who settles it."""
        self._documents = documents
        self._clock = clock
        self._patience = patience
        self._last_read = ""
        self._looked_at: datetime | None = None

    async def reserve(self, account: Account, amounts: Amounts, *, task_id: str) -> Reservation | Shortage:
        """Reserve the estimate of one call, or tell which limit on what it needs leaves no room for any."""
        limits = tuple(limit for limit in account.limits if amounts.get(limit.unit))
        reservation = Reservation(new_token(), account.id, account.tenant_id, account.counters, amounts)
        try:
            for _ in range(TRIES):
                if await self._try(reservation, limits, task_id):
                    return reservation
                if shortage := await self._find_shortage(account, limits):
                    return shortage
        except BaseException:
            # It may have been written. What cannot be taken back now counts in full later.
            with contextlib.suppress(OrchestratorError):
                await self.settle(reservation, NOTHING)
            raise
        # Whoever reserves and settles all the time leaves room again.
        return Shortage(limits[0], limits[0].most, reserved=limits[0].most)

    async def settle(self, reservation: Reservation, actual: Amounts) -> bool:
        """Replace the estimate by what was consumed; False when it is not open any more, which changes nothing."""
        return await self._close(reservation, plus(actual, reservation.amounts, times=-1))

    async def close_abandoned(self) -> int:
        """Count in full what nobody settled in time, for a bounded number of accounts; how many calls that were."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < PAUSE:
            return 0
        self._looked_at = now
        where = {"_id": {"$gt": self._last_read}, "held": {"$gt": 0}}
        documents = await self._documents.find_many(where, sort=BY_NAME, limit=MOST_ACCOUNTS)
        self._last_read = documents[-1]["_id"] if len(documents) == MOST_ACCOUNTS else ""
        cutoff = now - self._patience
        stale = [one for document in documents for opened_at, one in _open_in(document) if opened_at < cutoff]
        return sum([await self._close(one, {}) for one in stale])

    async def find(self, tenant_id: str, account_id: str) -> Mapping[str, Consumption]:
        """What each counter of the account says; none for an account that nothing was charged to."""
        document = await self._documents.of_tenant(tenant_id).find_one({"_id": account_id})
        return {} if document is None else _consumptions(document)

    async def _try(self, reservation: Reservation, limits: tuple[Limit, ...], task_id: str) -> bool:
        now = self._clock()
        # Negated, since a counter that nothing was added to yet is not there.
        room: Document = {
            f"committed.{limit.counter}.{limit.unit}": {"$not": {"$gte": limit.most}} for limit in limits if limit.most
        }
        if len(room) < len(limits):
            return False
        entry = {
            "id": reservation.id,
            "task_id": task_id,
            "at": now,
            "counters": list(reservation.counters),
            "amounts": {unit.value: amount for unit, amount in reservation.amounts.items()},
        }
        where = {"_id": reservation.account_id, "held": {"$not": {"$gte": MOST_OPEN}}, **room}
        change = {
            "$inc": {"held": 1, **_increments(reservation.counters, reservation.amounts)},
            "$push": {"open": entry},
            "$max": {"expires_at": now + KEPT},
        }
        try:
            return await self._documents.of_tenant(reservation.tenant_id).update_one(where, change, upsert=True)
        except DuplicateDocument:
            # It is there and did not match, or somebody else has just made it.
            return False

    async def _close(self, reservation: Reservation, correction: Amounts) -> bool:
        change = {
            "$inc": {"held": -1, **_increments(reservation.counters, correction)},
            "$pull": {"open": {"id": reservation.id}},
        }
        where = {"_id": reservation.account_id, "open.id": reservation.id}
        return await self._documents.of_tenant(reservation.tenant_id).update_one(where, change)

    async def _find_shortage(self, account: Account, limits: tuple[Limit, ...]) -> Shortage | None:
        """The limit that is reached: one that is reached without any reservation, if there is one."""
        found = await self.find(account.tenant_id, account.id)
        shortages = [
            Shortage(limit, committed, counter.reserved.get(limit.unit, 0) if counter else 0)
            for limit in limits
            for counter in [found.get(limit.counter)]
            for committed in [counter.committed.get(limit.unit, 0) if counter else 0]
            if committed >= limit.most
        ]
        return max(shortages, key=lambda one: one.is_final, default=None)


def _increments(counters: tuple[str, ...], amounts: Amounts) -> dict[str, int]:
    return {f"committed.{counter}.{unit}": amount for counter in counters for unit, amount in amounts.items() if amount}


def _open_in(document: Document) -> Iterator[tuple[datetime, Reservation]]:
    for entry in document.get("open", ()):
        counters, amounts = tuple(entry["counters"]), _amounts(entry["amounts"])
        yield entry["at"], Reservation(entry["id"], document["_id"], document["tenant_id"], counters, amounts)


def _consumptions(document: Document) -> dict[str, Consumption]:
    reserved: dict[str, Amounts] = {}
    for _, one in _open_in(document):
        for counter in one.counters:
            reserved[counter] = plus(reserved.get(counter, {}), one.amounts)
    return {
        counter: Consumption(amounts, reserved.get(counter, {}))
        for counter, amounts in _counters_in(document.get("committed", {}))
    }


def _counters_in(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Amounts]]:
    """The innermost mappings by their path."""
    inner = {name: value for name, value in tree.items() if isinstance(value, Mapping)}
    if len(inner) < len(tree):
        yield path, _amounts({name: value for name, value in tree.items() if name not in inner})
    for name, value in inner.items():
        yield from _counters_in(value, f"{path}.{name}" if path else name)


def _amounts(stored: Mapping[str, int]) -> dict[Unit, int]:
    return {Unit(name): int(amount) for name, amount in stored.items()}
