"""A lock in the store that makes one of many processes do periodic work. It saves work; nothing depends on it."""

from datetime import timedelta

from app.clock import Clock
from app.database.documents import Documents
from app.database.errors import DuplicateDocument
from app.jobs.workers import SYSTEM_TENANT

COLLECTION = "locks"


class StoreLock:
    """A named lock that its holder renews and that anybody may take once it has expired."""

    def __init__(self, documents: Documents, name: str, *, holder: str, lease: timedelta, clock: Clock) -> None:
        self._documents = documents.of_tenant(SYSTEM_TENANT)
        self._name = name
        self._holder = holder
        self._lease = lease
        self._clock = clock

    async def acquire(self) -> bool:
        """Take or renew the lock; True while it is ours."""
        now = self._clock()
        free = {"_id": self._name, "$or": [{"holder": self._holder}, {"expires_at": {"$lte": now}}]}
        mine = {"$set": {"holder": self._holder, "expires_at": now + self._lease}}
        try:
            return await self._documents.update_one(free, mine, upsert=True)
        except DuplicateDocument:
            return False

    async def release(self) -> None:
        await self._documents.delete_one({"_id": self._name, "holder": self._holder})
