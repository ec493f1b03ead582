"""Which work an idempotency key stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo import ASCENDING

from app.database.documents import Database, Document, Documents
from app.database.errors import DuplicateDocument, StoreUnavailable
from app.database.indexes import Index

COLLECTION = "idempotency_keys"
# Each round is lost only to another request with the same key at an expiry.
_ROUNDS = 5

INDEXES: Sequence[Index] = (Index(COLLECTION, (("expires_at", ASCENDING),), {"expireAfterSeconds": 0}),)


@dataclass(frozen=True, slots=True)
class Reservation:
    """``scope_id`` is a hash of tenant, route and key: the key itself is not stored."""

    scope_id: str
    tenant_id: str
    digest: str
    work_id: str
    created_at: datetime
    expires_at: datetime


class Reservations:
    def __init__(self, database: Database) -> None:
        self._documents = Documents(database[COLLECTION])

    async def reserve(self, wanted: Reservation, *, now: datetime) -> Reservation:
        """The reservation that holds the scope afterwards: ``wanted`` itself when it was free or expired."""
        documents = self._documents.of_tenant(wanted.tenant_id)
        for _ in range(_ROUNDS):
            try:
                await documents.insert(_to_document(wanted))
            except DuplicateDocument:
                pass
            else:
                return wanted
            # The store removes expired documents about once a minute; until then this write takes them over.
            expired = {"_id": wanted.scope_id, "expires_at": {"$lte": now}}
            if await documents.update_one(expired, {"$set": _fields(wanted)}):
                return wanted
            held = await documents.find_one({"_id": wanted.scope_id})
            if held is not None:
                return _from_document(held)
        raise StoreUnavailable("this Idempotency-Key is contended; try again in a moment")


def _fields(reservation: Reservation) -> Document:
    return {
        "digest": reservation.digest,
        "work_id": reservation.work_id,
        "created_at": reservation.created_at,
        "expires_at": reservation.expires_at,
    }


def _to_document(reservation: Reservation) -> Document:
    return {"_id": reservation.scope_id, "tenant_id": reservation.tenant_id, **_fields(reservation)}


def _from_document(document: Document) -> Reservation:
    return Reservation(
        scope_id=document["_id"],
        tenant_id=document["tenant_id"],
        digest=document["digest"],
        work_id=document["work_id"],
        created_at=document["created_at"],
        expires_at=document["expires_at"],
    )
