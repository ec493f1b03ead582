"""Access to one MongoDB collection, with the tenant in every filter by construction and driver errors translated."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bson.errors import BSONError
from pymongo import DESCENDING, ReturnDocument, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, PyMongoError, WTimeoutError

from app.cancellation import undisturbed
from app.database.errors import DuplicateDocument, StoreFailure, StoreUnavailable

Document = dict[str, Any]
Filter = Mapping[str, Any]
Update = Mapping[str, Any]
Sort = Sequence[tuple[str, int]]
Database = AsyncDatabase[Document]

NEWEST_FIRST: Sort = (("created_at", DESCENDING), ("_id", DESCENDING))
DUPLICATE_KEY = 11000
# Answers after which the same call may succeed later, beside those that the driver knows by their class.
PASSING = frozenset(
    {
        20,  # IllegalOperation: a standalone server's answer to the driver's retry of a write that lost its connection
        14031,  # OutOfDiskSpace: nothing was written
    }
)


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """How many documents matched, and which updates, by their place, the store refused."""

    matched: int
    refused: Mapping[int, StoreFailure] = field(default_factory=dict)


class Documents:
    """The documents of all tenants in one collection: for the kernel, which serves them all.

    Features that answer a client use `of_tenant`, which cannot see past its tenant.
    """

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    def of_tenant(self, tenant_id: str) -> "TenantDocuments":
        return TenantDocuments(self._collection, tenant_id)

    def _scoped(self, where: Filter) -> Filter:
        return where

    def _owned(self, document: Document) -> Document:
        if not document.get("tenant_id"):
            raise StoreFailure(f"a document for {self._collection.name!r} has no tenant_id")
        return document

    @undisturbed
    async def insert(self, document: Document) -> None:
        """Raises `DuplicateDocument` when a unique key is taken."""
        async with _translated():
            await self._collection.insert_one(self._owned(document))

    @undisturbed
    async def insert_in_order(self, documents: Iterable[Document]) -> None:
        """Insert one after the other, up to the first that is refused; `DuplicateDocument` when its key is taken."""
        async with _translated():
            try:
                await self._collection.insert_many([self._owned(one) for one in documents], ordered=True)
            except BulkWriteError as error:
                if error.details["writeErrors"][0]["code"] != DUPLICATE_KEY:
                    raise
                raise DuplicateDocument("a document with this key exists") from error

    @undisturbed
    async def insert_missing(self, documents: Iterable[Document]) -> frozenset[int]:
        """Insert those whose unique keys are free; the others are there already and stay as they are.

        Answers the places of those others.
        """
        async with _translated():
            try:
                await self._collection.insert_many([self._owned(one) for one in documents], ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if any(failed["code"] != DUPLICATE_KEY for failed in failures):
                    raise
                return frozenset(failed["index"] for failed in failures)
        return frozenset()

    @undisturbed
    async def find_one(self, where: Filter, *, fields: Sequence[str] | None = None) -> Document | None:
        async with _translated():
            return await self._collection.find_one(self._scoped(where), _projection(fields))

    @undisturbed
    async def find_many(
        self,
        where: Filter,
        *,
        limit: int,
        sort: Sort | None = None,
        skip: int = 0,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        """At most ``limit`` documents: nothing here reads without a bound."""
        async with _translated():
            cursor = self._collection.find(self._scoped(where), _projection(fields))
            if sort:
                cursor = cursor.sort(list(sort))
            return await cursor.skip(skip).limit(limit).to_list()

    @undisturbed
    async def count(self, where: Filter, *, limit: int) -> int:
        """How many match, counted up to ``limit``."""
        async with _translated():
            return await self._collection.count_documents(self._scoped(where), limit=limit)

    @undisturbed
    async def update_one(self, where: Filter, update: Update, *, upsert: bool = False) -> bool:
        """True when a document matched (or was inserted by the upsert)."""
        async with _translated():
            result = await self._collection.update_one(self._scoped(where), update, upsert=upsert)
            return result.matched_count == 1 or result.upserted_id is not None

    @undisturbed
    async def update_each(self, changes: Sequence[tuple[Filter, Update]]) -> UpdateReport:
        """Make each of these updates of one document, all in one round trip; one that is refused spoils no other."""
        async with _translated():
            updates = [UpdateOne(self._scoped(where), change) for where, change in changes]
            try:
                return UpdateReport((await self._collection.bulk_write(updates, ordered=False)).matched_count)
            except BulkWriteError as error:
                refused = {failed["index"]: _refusal(error) for failed in error.details["writeErrors"]}
                return UpdateReport(error.details["nMatched"], refused)

    @undisturbed
    async def update_many(self, where: Filter, update: Update) -> int:
        async with _translated():
            return (await self._collection.update_many(self._scoped(where), update)).modified_count

    @undisturbed
    async def change_one(self, where: Filter, update: Update, *, sort: Sort | None = None) -> Document | None:
        """Update one document, the first in ``sort``, and return it as it is afterwards; None when nothing matched."""
        async with _translated():
            return await self._collection.find_one_and_update(
                self._scoped(where), update, sort=list(sort) if sort else None, return_document=ReturnDocument.AFTER
            )

    @undisturbed
    async def delete_one(self, where: Filter) -> bool:
        async with _translated():
            return (await self._collection.delete_one(self._scoped(where))).deleted_count == 1

    @undisturbed
    async def delete_many(self, where: Filter) -> int:
        async with _translated():
            return (await self._collection.delete_many(self._scoped(where))).deleted_count

    @undisturbed
    async def aggregate(self, where: Filter, stages: Sequence[Mapping[str, Any]]) -> list[Document]:
        async with _translated():
            cursor = await self._collection.aggregate([{"$match": self._scoped(where)}, *stages])
            return await cursor.to_list()


class TenantDocuments(Documents):
    """One tenant's documents. No call of this class can read or write another tenant's."""

    def __init__(self, collection: AsyncCollection[Document], tenant_id: str) -> None:
        super().__init__(collection)
        self.tenant_id = tenant_id

    def _scoped(self, where: Filter) -> Filter:
        return {**where, "tenant_id": self.tenant_id}

    def _owned(self, document: Document) -> Document:
        return {**document, "tenant_id": self.tenant_id}


def _refusal(error: Exception) -> StoreFailure:
    return StoreFailure(f"the store refused an operation: {type(error).__name__}")


def _projection(fields: Sequence[str] | None) -> dict[str, int] | None:
    return None if fields is None else dict.fromkeys(fields, 1)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except DuplicateKeyError as error:
        raise DuplicateDocument("a document with this key exists") from error
    except (ConnectionFailure, WTimeoutError) as error:
        raise StoreUnavailable("the store does not answer; try again in a moment") from error
    except PyMongoError as error:
        if error.timeout or getattr(error, "code", None) in PASSING:
            raise StoreUnavailable("the store cannot do it now; try again in a moment") from error
        raise _refusal(error) from error
    except (BSONError, UnicodeError, OverflowError) as error:
        # What no document can hold, as half a character or an integer of 65 bits.
        raise _refusal(error) from error
