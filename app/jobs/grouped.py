"""Group commit: writes that are wanted at the same time share a round trip to the store, each as conditional as alone.

Nothing is delayed for it: what comes in while a round trip is under way goes with the next one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.database.documents import Document, Documents, Filter, Update
from app.errors import OrchestratorError, Unavailable
from app.ids import new_token

# Many fit; with few the store works on the next ones while these are carried out.
MOST_AT_ONCE = 100
# The last grouped write to a document leaves its mark there, by which its maker knows that it was made.
MARK = "written"

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Wanted(Generic[T]):
    item: T
    done: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def answer(self, result: bool) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Group(Generic[T]):
    """One round trip at a time, of everything that is wanted by then."""

    def __init__(self, write: Callable[[Sequence[_Wanted[T]]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[_Wanted[T]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, item: T) -> bool:
        wanted = _Wanted(item)
        self._waiting.append(wanted)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        # Who is cancelled leaves a write that is made nevertheless, as with any other.
        return await asyncio.shield(wanted.done)

    async def _write_all(self) -> None:
        try:
            while batch := self._waiting[:MOST_AT_ONCE]:
                del self._waiting[: len(batch)]
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[_Wanted[T]]) -> None:
        try:
            await self._write(batch)
        except Unavailable as error:
            for wanted in batch:
                wanted.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever one of them holds must spoil no other, which may be anybody's
            if len(batch) == 1:
                return batch[0].fail(error)
            half = len(batch) // 2
            await self._write_batch(batch[:half])
            await self._write_batch(batch[half:])
        except BaseException:
            for wanted in batch:
                wanted.done.cancel()
            raise


class GroupedWrites:
    """Of one collection, in one process. Errors are those of `Documents`."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._inserts = _Group[Document](self._insert)
        self._updates = _Group[tuple[Filter, Document, str]](self._update)

    async def insert(self, document: Document) -> bool:
        """False when one with this id is there already."""
        return await self._inserts.add(document)

    async def update(self, where: Filter, change: Update) -> bool:
        """Whether the document matched. ``where`` names it by `_id`."""
        mark = new_token()
        marked = {**change, "$set": {**change.get("$set", {}), MARK: mark}}
        return await self._updates.add((where, marked, mark))

    async def _insert(self, batch: Sequence[_Wanted[Document]]) -> None:
        taken = await self._documents.insert_missing(wanted.item for wanted in batch)
        for place, wanted in enumerate(batch):
            wanted.answer(place not in taken)

    async def _update(self, batch: Sequence[_Wanted[tuple[Filter, Document, str]]]) -> None:
        if len(batch) == 1:
            where, change, _ = batch[0].item
            return batch[0].answer(await self._documents.update_one(where, change))
        report = await self._documents.update_each([wanted.item[:2] for wanted in batch])
        if report.matched == len(batch):
            for wanted in batch:
                wanted.answer(True)
            return None
        return await self._find_out(batch, report.refused)

    async def _find_out(
        self, batch: Sequence[_Wanted[tuple[Filter, Document, str]]], refused: Mapping[int, OrchestratorError]
    ) -> None:
        """The store says how many matched, and not which."""
        ids = [wanted.item[0]["_id"] for wanted in batch]
        found = await self._documents.find_many({"_id": {"$in": ids}}, limit=len(ids), fields=[MARK])
        marks: dict[Any, Any] = {document["_id"]: document.get(MARK) for document in found}
        for place, wanted in enumerate(batch):
            where, _, mark = wanted.item
            if place in refused:
                wanted.fail(refused[place])
            else:
                wanted.answer(marks.get(where["_id"]) == mark)
