"""The `sessions` collection: when a session began, when it ends, and what is remembered of it.

Only a session that a client named has a document; that of a lone task follows from the task. A document whose time is
over counts as gone, whether the store has removed it yet or not.
"""

from datetime import datetime, timedelta

from app.clock import Clock
from app.database.documents import Document, Documents
from app.database.errors import DuplicateDocument, StoreUnavailable
from app.database.indexes import Index
from app.http.pagination import Cursor
from app.sessions.models import COLLECTION, Memory, Position, Session

INDEXES = (
    Index(COLLECTION, (("tenant_id", 1), ("last_activity_at", -1), ("_id", -1))),
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),
)
NEWEST_ACTIVITY_FIRST = (("last_activity_at", -1), ("_id", -1))
MOMENT = timedelta(milliseconds=1)
# Each round is lost only to another process that began or ended the same session in between.
_ROUNDS = 5


class SessionRepository:
    def __init__(self, documents: Documents, *, lifetime: timedelta, clock: Clock) -> None:
        self._documents = documents
        self._lifetime = lifetime
        self._clock = clock

    async def find(self, tenant_id: str, session_id: str) -> Session | None:
        live = self._live(tenant_id, session_id)
        found = await self._documents.of_tenant(tenant_id).find_one(live)
        return _read(found) if found else None

    def default_beginning(self) -> datetime:
        """When a session without a document begins: what is older has expired."""
        return self._clock() - self._lifetime

    def expiry_after(self, activity: datetime) -> datetime:
        return activity + self._lifetime

    async def touch(self, tenant_id: str, session_id: str, *, asked_at: datetime) -> Session | None:
        """The session of a task that was asked then, with its life prolonged; None when it was deleted since."""
        documents = self._documents.of_tenant(tenant_id)
        for _ in range(_ROUNDS):
            live = self._live(tenant_id, session_id)
            change = {"$max": self._activity(), "$set": {"deleted": False}}
            if found := await documents.change_one({**live, "begins_at": {"$lte": asked_at}}, change):
                return _read(found)
            expired = {"_id": live["_id"], "expires_at": {"$lt": self._clock()}}
            begins_at = min(asked_at, self.default_beginning())
            try:
                await documents.update_one(expired, {"$set": self._fresh(session_id, begins_at)}, upsert=True)
            except DuplicateDocument:
                # It is there: another task began it just now, or it was deleted after this one had been asked.
                if await documents.find_one({**live, "begins_at": {"$gt": asked_at}}, fields=("_id",)):
                    return None
        raise StoreUnavailable("this session is contended; try again in a moment")

    async def forget(self, tenant_id: str, session_id: str) -> None:
        """Begin anew: what was asked until now is no part of the session any more, and nothing is remembered."""
        fields = {**self._fresh(session_id, self._clock() + MOMENT), "deleted": True}
        documents, key = self._documents.of_tenant(tenant_id), {"_id": key_of(tenant_id, session_id)}
        try:
            await documents.update_one(key, {"$set": fields}, upsert=True)
        except DuplicateDocument:
            await documents.update_one(key, {"$set": fields})

    async def list_page(
        self, tenant_id: str, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Session]:
        """Newest activity first, from ``skip`` or from just behind ``after`` (which holds the last activity)."""
        where: Document = {"deleted": False, "expires_at": {"$gte": self._clock()}}
        if after is not None:
            same = {"last_activity_at": after.created_at, "_id": {"$lt": key_of(tenant_id, after.id)}}
            where["$or"] = [{"last_activity_at": {"$lt": after.created_at}}, same]
        found = await self._documents.of_tenant(tenant_id).find_many(
            where, limit=limit, skip=skip, sort=NEWEST_ACTIVITY_FIRST
        )
        return [_read(document) for document in found]

    async def count(self, tenant_id: str, *, limit: int) -> int:
        where = {"deleted": False, "expires_at": {"$gte": self._clock()}}
        return await self._documents.of_tenant(tenant_id).count(where, limit=limit)

    async def claim_summary(self, session: Session, *, token: str, until: datetime) -> bool:
        """Whether the holder of this token is the one to extend the memory. Until then nobody else is."""
        unchanged = {
            "_id": key_of(session.tenant_id, session.id),
            "begins_at": session.begins_at,
            "version": session.version,
            "$or": [{"summarising": None}, {"summarising.until": {"$lt": self._clock()}}],
        }
        change = {"$set": {"summarising": {"token": token, "until": until}}}
        return await self._documents.of_tenant(session.tenant_id).update_one(unchanged, change)

    async def remember(self, session: Session, memory: Memory, *, token: str) -> bool:
        """Replace the memory; False when the claim is lost or the session was deleted meanwhile."""
        held = {"_id": key_of(session.tenant_id, session.id), "summarising.token": token}
        stored = {
            "summary": memory.summary,
            "facts": list(memory.facts),
            "covers": {"asked_at": memory.covers.asked_at, "task_id": memory.covers.task_id},
        }
        change = {"$set": {"memory": stored, "summarising": None}, "$inc": {"version": 1}}
        return await self._documents.of_tenant(session.tenant_id).update_one(held, change)

    async def note_messages_kept(self, session: Session, until: datetime) -> None:
        key = {"_id": key_of(session.tenant_id, session.id)}
        await self._documents.of_tenant(session.tenant_id).update_one(key, {"$max": {"messages_kept_until": until}})

    def _live(self, tenant_id: str, session_id: str) -> Document:
        return {"_id": key_of(tenant_id, session_id), "expires_at": {"$gte": self._clock()}}

    def _activity(self) -> Document:
        now = self._clock()
        return {"last_activity_at": now, "expires_at": now + self._lifetime}

    def _fresh(self, session_id: str, begins_at: datetime) -> Document:
        return {
            **self._activity(),
            "session_id": session_id,
            "begins_at": begins_at,
            # Nothing was prolonged yet.
            "messages_kept_until": self._clock(),
            "deleted": False,
            "version": 0,
            "memory": None,
            "summarising": None,
        }


def key_of(tenant_id: str, session_id: str) -> str:
    """No tenant's name has a colon, so no two sessions share a key."""
    return f"{tenant_id}:{session_id}"


def _read(document: Document) -> Session:
    return Session(
        id=document["session_id"],
        tenant_id=document["tenant_id"],
        begins_at=document["begins_at"],
        last_activity_at=document["last_activity_at"],
        expires_at=document["expires_at"],
        messages_kept_until=document["messages_kept_until"],
        version=document["version"],
        memory=_read_memory(document["memory"]),
    )


def _read_memory(stored: Document | None) -> Memory | None:
    if stored is None:
        return None
    covers = Position(stored["covers"]["asked_at"], stored["covers"]["task_id"])
    return Memory(stored["summary"], tuple(stored["facts"]), covers)
