"""The collections `workflows`, one document per name, and `workflow_versions`, one per document that was stored.

A version never changes and is never deleted: executions and calling workflows are pinned to it. What a user wrote is
kept as text, since its keys may hold `.` and `$`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict

from app.clock import Clock
from app.database.documents import NEWEST_FIRST, Document, Documents, TenantDocuments
from app.database.errors import DuplicateDocument, StoreUnavailable
from app.database.indexes import Index
from app.http.pagination import Cursor
from app.ids import is_id, new_id
from app.workflows.definitions.models import (
    LONGEST_SUMMARY,
    Contents,
    Pin,
    Release,
    SourceFormat,
    StoredWorkflow,
    Version,
)

WORKFLOWS = "workflows"
VERSIONS = "workflow_versions"
INDEXES = (
    Index(WORKFLOWS, (("tenant_id", 1), ("workflow_id", 1)), {"unique": True}),
    Index(WORKFLOWS, (("tenant_id", 1), ("created_at", -1), ("_id", -1))),
    Index(VERSIONS, (("tenant_id", 1), ("name", 1), ("created_at", -1), ("_id", -1))),
)
_AS_JSON = ("document", "graph", "inputs", "outputs")
_AS_TEXT = ("name", "digest", "description", "source_text")
_RELEASE = ("digest", "created_at", "created_by")
# Each round is lost only to another request that stored or deleted the same name in between.
_ROUNDS = 5


class DefinitionRepository:
    def __init__(self, workflows: Documents, versions: Documents, *, clock: Clock) -> None:
        self._workflows = workflows
        self._versions = versions
        self._clock = clock

    async def find(self, tenant_id: str, reference: str) -> StoredWorkflow | None:
        """By its id or its name; a deleted one is not found."""
        key = {"workflow_id": reference} if is_id(reference) else {"_id": _key(tenant_id, reference)}
        found = await self._workflows.of_tenant(tenant_id).find_one({**key, "deleted_at": None})
        return _read_workflow(found) if found else None

    async def list_page(
        self, tenant_id: str, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[StoredWorkflow]:
        """Newest first, from ``skip`` or from just behind ``after``."""
        where = {"deleted_at": None, **_before(after, lambda name: _key(tenant_id, name))}
        found = await self._workflows.of_tenant(tenant_id).find_many(where, limit=limit, skip=skip, sort=NEWEST_FIRST)
        return [_read_workflow(document) for document in found]

    async def count(self, tenant_id: str, *, limit: int) -> int:
        return await self._workflows.of_tenant(tenant_id).count({"deleted_at": None}, limit=limit)

    async def find_version(self, tenant_id: str, name: str, digest: str) -> Version | None:
        key = {"_id": _version_key(tenant_id, name, digest)}
        found = await self._versions.of_tenant(tenant_id).find_one(key)
        return _read_version(found) if found else None

    async def list_versions(
        self, tenant_id: str, workflow: StoredWorkflow, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Release]:
        """Those that are or were current, newest first."""
        before = _before(after, lambda digest: _version_key(tenant_id, workflow.name, digest))
        where = {"$and": [_released(workflow), before]}
        found = await self._versions.of_tenant(tenant_id).find_many(
            where, limit=limit, skip=skip, sort=NEWEST_FIRST, fields=_RELEASE
        )
        return [_read_release(document) for document in found]

    async def count_versions(self, tenant_id: str, workflow: StoredWorkflow, *, limit: int) -> int:
        return await self._versions.of_tenant(tenant_id).count(_released(workflow), limit=limit)

    async def keep_version(self, tenant_id: str, contents: Contents, *, by: str) -> bool:
        """Store a version; False when it was there before. It is listed once it was made the current one."""
        document = {
            **{name: json.dumps(getattr(contents, name)) for name in _AS_JSON},
            **{name: getattr(contents, name) for name in _AS_TEXT},
            "_id": _version_key(tenant_id, contents.name, contents.digest),
            "source_format": contents.source_format.value,
            "parts": [asdict(pin) for pin in contents.parts],
            "created_at": self._clock(),
            "created_by": by,
            "released": False,
        }
        return not await self._versions.of_tenant(tenant_id).insert_missing([document])

    async def make_current(
        self, tenant_id: str, contents: Contents, *, by: str, expected: str | None = None
    ) -> tuple[StoredWorkflow, bool] | None:
        """The workflow with this version, and whether the name was free before.

        With ``expected`` only when that is the version so far; None when it is not.
        """
        documents, key = self._workflows.of_tenant(tenant_id), {"_id": _key(tenant_id, contents.name)}
        change = {"$set": self._current(contents, by)}
        unchanged = {} if expected is None else {"digest": expected}
        for _ in range(_ROUNDS):
            if found := await documents.change_one({**key, "deleted_at": None, **unchanged}, change):
                return _read_workflow(found), False
            if expected is not None:
                return None
            if found := await self._begin(documents, key, contents, by):
                return _read_workflow(found), True
        raise StoreUnavailable("this workflow is contended; try again in a moment")

    async def release(self, tenant_id: str, contents: Contents) -> bool:
        """List the version from now on; False when it was listed before."""
        key = {"_id": _version_key(tenant_id, contents.name, contents.digest), "released": False}
        return await self._versions.of_tenant(tenant_id).update_one(key, {"$set": {"released": True}})

    async def delete(self, tenant_id: str, workflow: StoredWorkflow, *, by: str) -> bool:
        """False when somebody else has deleted it before. Its versions stay."""
        live = {"_id": _key(tenant_id, workflow.name), "deleted_at": None}
        change = {"$set": {"deleted_at": self._clock(), "updated_by": by}}
        return await self._workflows.of_tenant(tenant_id).update_one(live, change)

    async def _begin(self, documents: TenantDocuments, key: Document, contents: Contents, by: str) -> Document | None:
        """A name that is free: new, or of a deleted workflow, which is there again then. None when it is not free."""
        now, current = self._clock(), self._current(contents, by)
        deleted = {**key, "deleted_at": {"$ne": None}}
        if found := await documents.change_one(deleted, {"$set": {**current, "deleted_at": None}}):
            return found
        begun = {**key, **current, "workflow_id": new_id(), "created_at": now, "deleted_at": None}
        try:
            await documents.insert({**begun, "name": contents.name})
        except DuplicateDocument:
            return None
        return {**begun, "name": contents.name}

    def _current(self, contents: Contents, by: str) -> Document:
        return {
            "digest": contents.digest,
            "summary": contents.description[:LONGEST_SUMMARY],
            "updated_at": self._clock(),
            "updated_by": by,
        }


def _key(tenant_id: str, name: str) -> str:
    """No tenant's name has a colon, so no two workflows share a key."""
    return f"{tenant_id}:{name}"


def _version_key(tenant_id: str, name: str, digest: str) -> str:
    return f"{tenant_id}:{name}:{digest}"


def _released(workflow: StoredWorkflow) -> Document:
    # After a crash in between the current version is not marked yet.
    return {"name": workflow.name, "$or": [{"released": True}, {"digest": workflow.digest}]}


def _before(position: Cursor | None, key: Callable[[str], str]) -> Document:
    if position is None:
        return {}
    same = {"created_at": position.created_at, "_id": {"$lt": key(position.id)}}
    return {"$or": [{"created_at": {"$lt": position.created_at}}, same]}


def _read_workflow(document: Document) -> StoredWorkflow:
    fields = ("name", "digest", "summary", "created_at", "updated_at", "updated_by")
    return StoredWorkflow(id=document["workflow_id"], **{name: document[name] for name in fields})


def _read_release(document: Document) -> Release:
    return Release(**{name: document[name] for name in _RELEASE})


def _read_version(document: Document) -> Version:
    contents = Contents(
        **{name: document[name] for name in _AS_TEXT},
        **{name: json.loads(document[name]) for name in _AS_JSON},
        source_format=SourceFormat(document["source_format"]),
        parts=tuple(Pin(**pin) for pin in document["parts"]),
    )
    return Version(**{name: document[name] for name in _RELEASE}, contents=contents)
