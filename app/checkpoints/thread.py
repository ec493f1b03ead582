"""One thread as one document, and this attempt's copy of it.

The document holds the latest checkpoint of each namespace with the writes that are pending on it, nothing older:
``{_id, tenant_id, fence, shape, spaces: {key: {ns, id, parent, checkpoint, metadata, writes}}, place, blobs, spent}``,
with the blobs' place in the artifact store.

The attempt works on its copy and writes down what changed since the last time. Whoever loads a thread takes it over
by raising its fence; from then on no write of an earlier attempt matches. A document that names blobs has `erase_at`
instead of `expires_at`: the TTL index must not remove it, because its blobs would stay behind.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import structlog

from app.checkpoints.errors import CheckpointUnusable
from app.checkpoints.models import Ledger, ThreadKey
from app.checkpoints.serde import Typed
from app.checkpoints.values import LARGEST_DOCUMENT, Values, inline_size, spilled_in
from app.clock import Clock
from app.database.documents import Document, TenantDocuments
from app.database.errors import DuplicateDocument
from app.errors import LeaseLost, OrchestratorError

log = structlog.get_logger(__name__)

# Long enough for the checkpoint that makes a node's pending writes needless to arrive, when no other node runs.
GATHERING_PAUSE = 0.02
PARTS = {"ns", "id", "parent", "checkpoint", "metadata", "writes"}

Space = dict[str, Any]


class Thread:
    """Not for two attempts, but for any number of concurrent nodes of one."""

    def __init__(
        self,
        documents: TenantDocuments,
        values: Values,
        key: ThreadKey,
        *,
        ttl: timedelta,
        clock: Clock,
        shape: str = "",
        ledger: Ledger | None = None,
    ) -> None:
        """``shape`` tells graphs apart: what another one saved is not used."""
        self.key = key
        self.id = f"{key.tenant_id}/{key.thread_id}"
        self.blobs: set[str] = set()
        self._documents = documents
        self._values = values
        self._ttl = ttl
        self._clock = clock
        self._shape = shape
        self._ledger = ledger
        self._spaces: dict[str, Space] = {}
        self._changed: set[str] = set()
        self._is_loaded = key.is_new
        self._is_ours = False
        self._is_complete = False
        self._lock = asyncio.Lock()
        self._was_replaced: dict[str, asyncio.Event] = {}

    @property
    def is_stored(self) -> bool:
        """Whether this attempt found or left something in the store."""
        return self._is_ours

    async def load(self) -> bool:
        """Take the thread over; False when nothing was saved. Only the first call asks the store.

        Raises `CheckpointUnusable`.
        """
        async with self._lock:
            if not self._is_loaded:
                document = await self._documents.change_one(self._fenced(), {"$set": {"fence": self.key.fence}})
                self._is_loaded = True
                if document is not None:
                    self._is_ours = True
                    self._adopt(document)
        return bool(self._spaces)

    def find_space(self, ns: str) -> Space | None:
        return self._spaces.get(_key(ns))

    def spaces(self) -> list[Space]:
        return list(self._spaces.values())

    async def put(self, ns: str, *, ids: tuple[str, str | None], checkpoint: Typed, metadata: Typed) -> None:
        """The new checkpoint of a namespace; `save` makes it durable. What was pending on the old one is in it."""
        key = _key(ns)
        packed = await self._values.pack(checkpoint, room=self._room(without=key))
        for finished in self._finished_by(ns):
            del self._spaces[finished]
            self._changed.add(f"spaces.{finished}")
        previous = self._spaces.get(key)
        self._spaces[key] = {
            "ns": ns,
            "id": ids[0],
            "parent": ids[1],
            "checkpoint": packed,
            "metadata": {"kind": metadata[0], "data": metadata[1]},
            "writes": {},
        }
        self._changed.add(f"spaces.{key}")
        if previous is not None:
            self._replaced(previous["id"]).set()

    async def put_writes(self, ns: str, checkpoint_id: str, writes: Iterable[tuple[str, Document, Typed]]) -> None:
        """What a node wrote while others of its step may still run, as (name, description, value).

        It is saved unless the checkpoint that ends the step comes first, which has it in it.
        """
        key = _key(ns)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._replaced(checkpoint_id).wait(), GATHERING_PAUSE)
        for name, description, value in writes:
            packed = await self._values.pack(value, room=self._room())
            space = self._spaces.get(key)
            if space is None or space["id"] != checkpoint_id:
                return await self._remove(spilled_in(packed))
            space["writes"][name] = {**description, "value": packed}
            self._changed.add(f"spaces.{key}.writes.{name}")
        return await self.save()

    async def save(self) -> None:
        """Write what changed, in one conditional write. Raises `LeaseLost` when the thread was taken over."""
        async with self._lock:
            if self._changed:
                await self._write()

    async def forget(self) -> None:
        """Begin again: nothing of what was saved is used or kept."""
        with contextlib.suppress(CheckpointUnusable):
            # It tells which blobs there are.
            await self.load()
        async with self._lock:
            await self._documents.delete_one(self._fenced())
            blobs, self.blobs = self.blobs, set()
            self._spaces, self._changed = {}, set()
            self._is_loaded, self._is_ours, self._is_complete = True, False, False
        await self._remove(blobs)

    async def unpack(self, stored: Document) -> Typed:
        return await self._values.unpack(stored)

    def _replaced(self, checkpoint_id: str) -> asyncio.Event:
        return self._was_replaced.setdefault(checkpoint_id, asyncio.Event())

    def _adopt(self, document: Document) -> None:
        spent = document.get("spent")
        # An older version worked in one round and did not number it.
        if self._ledger is not None and spent and (spent["fence"], spent.get("round", 1)) > self._ledger.counted_to:
            self._ledger.carry(spent["usage"])
        self.blobs = set(document.get("blobs", ()))
        if document.get("shape") != self._shape:
            raise CheckpointUnusable("the checkpoint was saved by another version of the graph")
        spaces = document.get("spaces")
        if not spaces or not all(space.keys() >= PARTS for space in spaces.values()):
            raise CheckpointUnusable("the checkpoint lacks a part")
        self._spaces = spaces
        self._is_complete = True

    async def _write(self) -> None:
        changed, self._changed = self._changed, set()
        was_complete, self._is_complete = self._is_complete, False
        blobs = spilled_in(self._spaces)
        update = self._update(self._changes(changed) if was_complete else {"spaces": self._spaces}, blobs)
        try:
            # Where a later attempt has the thread, the upsert meets its document's id, and an update nothing.
            matched = await self._documents.update_one(self._fenced(), update, upsert=not self._is_ours)
        except DuplicateDocument as error:
            raise LeaseLost("a later attempt has taken over the agent's state") from error
        except BaseException:
            # Not known to be written, so the next write leaves nothing out.
            self._changed |= changed
            raise
        if not matched:
            raise LeaseLost("a later attempt has taken over the agent's state")
        self._is_ours = True
        self._is_complete = True
        unused, self.blobs = self.blobs - blobs, blobs
        await self._remove(unused)

    def _changes(self, paths: set[str]) -> dict[str, Any]:
        """The value at each path, those below another one left out; None where it is gone."""
        outermost = (path for path in paths if not any(path.startswith(f"{other}.") for other in paths))
        return {path: _value_at(self._spaces, path) for path in outermost}

    def _update(self, changes: dict[str, Any], blobs: set[str]) -> Document:
        now = self._clock()
        due, unset = ("erase_at", "expires_at") if blobs else ("expires_at", "erase_at")
        fields = {
            **{path: value for path, value in changes.items() if value is not None},
            "thread_id": self.key.thread_id,
            "place": self.key.place,
            "fence": self.key.fence,
            "shape": self._shape,
            "blobs": sorted(blobs),
            "updated_at": now,
            due: now + self._ttl,
        }
        if self._ledger is not None:
            fields["spent"] = {
                "fence": self.key.fence,
                "round": self._ledger.round,
                "usage": self._ledger.read(),
            }
        gone = [path for path, value in changes.items() if value is None]
        return {"$set": fields, "$unset": dict.fromkeys([unset, *gone], "")}

    def _fenced(self) -> Document:
        return {"_id": self.id, "fence": {"$lte": self.key.fence}}

    def _room(self, *, without: str | None = None) -> int:
        return LARGEST_DOCUMENT - sum(inline_size(one) for key, one in self._spaces.items() if key != without)

    def _finished_by(self, ns: str) -> list[str]:
        """Namespaces of subgraphs that ran as tasks of the step that this namespace's next checkpoint ends."""
        prefix = f"{ns}|" if ns else ""
        below = [(key, one["ns"]) for key, one in self._spaces.items() if one["ns"] != ns]
        # A subgraph that keeps its state between calls has no task's id in its name.
        return [key for key, name in below if name.startswith(prefix) and ":" in name[len(prefix) :].split("|")[0]]

    async def _remove(self, blobs: Iterable[str]) -> None:
        for sha256 in blobs:
            try:
                await self._values.remove(sha256)
            except OrchestratorError as error:
                log.warning("checkpoints.blob_left_behind", sha256=sha256, error_type=error.code)


def _key(ns: str) -> str:
    # Names of nodes may have dots and dollars in them, names of fields may not.
    return hashlib.blake2s(ns.encode(), digest_size=8).hexdigest()


def _value_at(spaces: dict[str, Space], path: str) -> Any:
    found: Any = {"spaces": spaces}
    for name in path.split("."):
        if name not in found:
            return None
        found = found[name]
    return found
