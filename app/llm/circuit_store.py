"""The open circuits of all processes, one document each; a closed circuit has none."""

from dataclasses import replace
from datetime import timedelta

from app.database.documents import Document, TenantDocuments
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.ids import new_token
from app.llm.circuits import Circuit, CircuitKey

COLLECTION = "circuits"
# A model that nobody uses any more is never probed; its circuit is forgotten.
FORGOTTEN_AFTER = timedelta(days=1)
MOST_CIRCUITS = 1000
INDEXES = (Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),)


class CircuitStore:
    """Every change is one write that succeeds only on the version its maker has seen."""

    def __init__(self, documents: TenantDocuments) -> None:
        self._documents = documents

    async def list_open(self) -> list[Circuit]:
        return [_read(document) for document in await self._documents.find_many({}, limit=MOST_CIRCUITS)]

    async def find(self, key: CircuitKey) -> Circuit | None:
        document = await self._documents.find_one({"_id": str(key)})
        return None if document is None else _read(document)

    async def open(self, circuit: Circuit) -> Circuit | None:
        """As it is stored; None when it was open already."""
        stored = replace(circuit, version=new_token())
        try:
            await self._documents.insert({"_id": str(stored.key), **_fields(stored)})
        except DuplicateDocument:
            return None
        return stored

    async def change(self, before: Circuit, after: Circuit) -> Circuit | None:
        """As it is stored; None when somebody else changed it since ``before``."""
        stored = replace(after, version=new_token())
        changed = await self._documents.update_one(_is(before), {"$set": _fields(stored)})
        return stored if changed else None

    async def close(self, before: Circuit) -> bool:
        """False when somebody else changed it since ``before``."""
        return await self._documents.delete_one(_is(before))


def _is(circuit: Circuit) -> Document:
    return {"_id": str(circuit.key), "version": circuit.version}


def _fields(circuit: Circuit) -> Document:
    return {
        "provider": circuit.key.provider,
        "model": circuit.key.model,
        "failures": circuit.failures,
        "openings": circuit.openings,
        "open_since": circuit.open_since,
        "probe_at": circuit.probe_at,
        "is_probing": circuit.is_probing,
        "version": circuit.version,
        "expires_at": circuit.probe_at + FORGOTTEN_AFTER,
    }


def _read(document: Document) -> Circuit:
    return Circuit(
        key=CircuitKey(document["provider"], document["model"]),
        failures=document["failures"],
        openings=document["openings"],
        open_since=document["open_since"],
        probe_at=document["probe_at"],
        is_probing=document["is_probing"],
        version=document["version"],
    )
