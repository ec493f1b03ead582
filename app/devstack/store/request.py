"""One command as it arrives: its name, its collection, and fields that are checked before they are used.

A field nobody here understands is refused instead of ignored, so that an answer is never silently another one's.
"""

from dataclasses import dataclass
from typing import Any

from app.devstack.store.documents import Document
from app.devstack.store.errors import BadValue, NoTransactions, NotSupported

# They change how a real deployment answers, never what it answers on a single node with everything in memory.
_HARMLESS = {
    "$clusterTime",
    "$db",
    "$readPreference",
    "allowDiskUse",
    "allowPartialResults",
    "apiDeprecationErrors",
    "apiStrict",
    "apiVersion",
    "bypassDocumentValidation",
    "comment",
    "hint",
    "lsid",
    "maxTimeMS",
    "noCursorTimeout",
    "readConcern",
    "writeConcern",
}

_OF_TRANSACTIONS = ("txnNumber", "startTransaction", "autocommit")


@dataclass(frozen=True, slots=True)
class Request:
    name: str
    fields: Document

    @property
    def database(self) -> str:
        name = self.fields.get("$db", "admin")
        if not isinstance(name, str) or not name or "." in name or "\0" in name:
            raise BadValue(f"invalid database name {name!r}")
        return name

    @property
    def namespace(self) -> str:
        collection = self.fields[self.name]
        if not isinstance(collection, str) or not collection or "\0" in collection:
            raise BadValue(f"collection name has invalid type or is empty: {collection!r:.80}")
        return f"{self.database}.{collection}"

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields.get(name, default)

    def list_of(self, name: str) -> list[Any]:
        items = self.fields.get(name)
        if not isinstance(items, list):
            raise BadValue(f"{self.name}.{name} must be an array")
        return items

    def check(self, known: frozenset[str]) -> None:
        """Raises :class:`NoTransactions` or :class:`NotSupported` for what ``known`` does not list."""
        if any(name in self.fields for name in _OF_TRANSACTIONS):
            raise NoTransactions("Transaction numbers are only allowed on a replica set member or mongos")
        check_fields(self.name, {name: value for name, value in self.fields.items() if name != self.name}, known)


def check_fields(where: str, fields: Document, known: frozenset[str]) -> None:
    for name, value in fields.items():
        # Drivers send some options with a value that asks for nothing.
        if name not in known and name not in _HARMLESS and value not in (None, False, {}, []):
            raise NotSupported(f"{name!r} in {where}")
