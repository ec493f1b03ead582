"""The `tasks` collection as its readers need it; every state change is the kernel's."""

import re
from datetime import datetime
from typing import Any

from app.artifacts.evidence import DIGESTS, EVIDENCE
from app.database.documents import NEWEST_FIRST, Document, Documents
from app.database.indexes import Index
from app.governance.legal_holds import repository as legal_holds
from app.http.pagination import MOST_COUNTED, Cursor, older_than
from app.jobs import recovery, retention
from app.jobs.models import DRY_RUN
from app.metrics import rollups
from app.replay.models import RECORDINGS
from app.tasks.attempts import FIELDS as ATTEMPT_FIELDS
from app.tasks.models import COLLECTION, TaskNotFound, TaskQuery, search_terms
from app.tasks.review import UNDER_REVIEW

INDEXES = (
    Index(COLLECTION, (("tenant_id", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("status", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("agent_type", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("session_id", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("search_terms", 1), ("created_at", -1), ("_id", -1))),
    # Only dry runs expire by themselves.
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0, "sparse": True}),
    Index(COLLECTION, ((DIGESTS, 1),), {"sparse": True}),
    *recovery.indexes(COLLECTION),
    *rollups.job_indexes(COLLECTION),
    *retention.indexes(COLLECTION),
    *legal_holds.indexes(COLLECTION),
)
SUMMARY_FIELDS = (
    "agent_type",
    "selected_agent",
    "status",
    "session_id",
    "created_at",
    "completed_at",
    "result.summary",
)


ARTIFACT_FIELDS = (
    "tenant_id", "completed_at", "result.artifacts", f"{UNDER_REVIEW}.artifacts", EVIDENCE, RECORDINGS,
)  # fmt: skip
# Of those that may have one artifact; attempts whose result was not taken leave some behind.
MOST_NAMING = 100


class TaskRepository:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def get(self, tenant_id: str, task_id: str) -> Document:
        found = await self.find(tenant_id, task_id)
        if found is None:
            raise TaskNotFound(f"no task {task_id!r}", task_id=task_id)
        return found

    async def find(self, tenant_id: str, task_id: str) -> Document | None:
        return await self._documents.of_tenant(tenant_id).find_one({"_id": task_id})

    async def get_progress(self, tenant_id: str, task_id: str) -> Document:
        """Only what tells how far the task is: what waits for it looks often."""
        found = await self._documents.of_tenant(tenant_id).find_one({"_id": task_id}, fields=("status", "history"))
        if found is None:
            raise TaskNotFound(f"no task {task_id!r}", task_id=task_id)
        return found

    async def list_naming(self, tenant_id: str, sha256: str) -> list[Document]:
        """Some for which the artifact store may hold this, with what they say of their artifacts."""
        documents = self._documents.of_tenant(tenant_id)
        return await documents.find_many({DIGESTS: sha256}, limit=MOST_NAMING, fields=ARTIFACT_FIELDS)

    async def get_attempts(self, tenant_id: str, task_id: str) -> Document:
        """Only what tells of its attempts."""
        found = await self._documents.of_tenant(tenant_id).find_one({"_id": task_id}, fields=ATTEMPT_FIELDS)
        if found is None:
            raise TaskNotFound(f"no task {task_id!r}", task_id=task_id)
        return found

    async def list_page(
        self, tenant_id: str, query: TaskQuery, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Document]:
        """Summaries, newest first, from ``skip`` or from just behind ``after``."""
        where = _where(query)
        if after is not None:
            where = {"$and": [where, older_than(after)]}
        return await self._documents.of_tenant(tenant_id).find_many(
            where, limit=limit, skip=skip, sort=NEWEST_FIRST, fields=SUMMARY_FIELDS
        )

    async def count(self, tenant_id: str, query: TaskQuery) -> int:
        return await self._documents.of_tenant(tenant_id).count(_where(query), limit=MOST_COUNTED)

    async def count_ahead(self, task: Document, *, limit: int) -> int:
        """How many of the tenant's tasks are to be started before this one."""
        lane, rank = task.get("lane"), task.get("rank")
        if lane is None or rank is None:
            return 0
        ahead = {"lane": lane, "rank": {"$lt": rank}}
        return await self._documents.of_tenant(task["tenant_id"]).count(ahead, limit=limit)


def _where(query: TaskQuery) -> dict[str, Any]:
    exact = {"status": query.status, "agent_type": query.agent_type, "session_id": query.session_id}
    where: dict[str, Any] = {DRY_RUN: None, **{name: value for name, value in exact.items() if value is not None}}
    if created := _created_between(query):
        where["created_at"] = created
    if query.words is not None:
        # Each word must begin a word of the task: a prefix pattern can use the index, a substring cannot.
        terms = [{"search_terms": {"$regex": f"^{re.escape(term)}"}} for term in search_terms(query.words)]
        where["$and"] = terms or [{"search_terms": {"$in": []}}]
    return where


def _created_between(query: TaskQuery) -> dict[str, datetime]:
    bounds = {"$gte": query.created_after, "$lt": query.created_before}
    return {operator: bound for operator, bound in bounds.items() if bound is not None}
