"""Open cursors: the results of a query as they were when it ran, handed out in batches."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from bson import Int64

from app.devstack.store.documents import MAX_DOCUMENT_BYTES, Document, as_value
from app.devstack.store.errors import BadValue, CursorNotFound

_FIRST_BATCH = 101
_IDLE_SECONDS = 600.0


@dataclass(slots=True)
class _Cursor:
    namespace: str
    rest: deque[bytes]
    used_at: float = 0.0


class Cursors:
    def __init__(self) -> None:
        self._cursors: dict[int, _Cursor] = {}
        self._ids = count(1)

    def open(
        self, namespace: str, raws: Iterable[bytes], batch_size: int | None, now: float, *, single: bool = False
    ) -> Document:
        """The reply's ``cursor`` with the first batch; the cursor stays open when there is more."""
        cursor = _Cursor(namespace, deque(raws), now)
        batch = _take(cursor, _FIRST_BATCH if batch_size is None else batch_size)
        identity = 0
        if cursor.rest and not single:
            identity = next(self._ids)
            self._cursors[identity] = cursor
        return {"firstBatch": batch, "id": Int64(identity), "ns": namespace}

    def more(self, identity: int, batch_size: int | None, now: float) -> Document:
        """Raises :class:`CursorNotFound` for a cursor that was read to its end, killed or left idle."""
        cursor = self._cursors.get(identity)
        if cursor is None:
            raise CursorNotFound(f"cursor id {identity} not found")
        cursor.used_at = now
        batch = _take(cursor, batch_size or len(cursor.rest))
        if not cursor.rest:
            del self._cursors[identity]
        return {"nextBatch": batch, "id": Int64(identity if cursor.rest else 0), "ns": cursor.namespace}

    def kill(self, identities: Iterable[int]) -> Document:
        killed: list[Int64] = []
        missing: list[Int64] = []
        for identity in identities:
            (killed if self._cursors.pop(identity, None) else missing).append(Int64(identity))
        return {"cursorsKilled": killed, "cursorsNotFound": missing, "cursorsAlive": [], "cursorsUnknown": []}

    def forget_idle(self, now: float) -> None:
        for identity, cursor in list(self._cursors.items()):
            if now - cursor.used_at > _IDLE_SECONDS:
                del self._cursors[identity]


def _take(cursor: _Cursor, size: int) -> list[Any]:
    if size < 0:
        raise BadValue("a batch size must not be negative")
    batch: list[Any] = []
    filled = 0
    while cursor.rest and len(batch) < size:
        filled += len(cursor.rest[0])
        # A reply must stay within one message; a single document always fits.
        if batch and filled > MAX_DOCUMENT_BYTES:
            break
        batch.append(as_value(cursor.rest.popleft()))
    return batch
