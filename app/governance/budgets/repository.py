"""The budgets that tenants have stored, one document each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.database.documents import Document, Documents, Sort
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.governance.budgets.accounts import Budgets
from app.governance.budgets.models import EVERYBODY, Scope
from app.setting_budgets import BudgetLimits, PeriodBudget

COLLECTION = "budgets"
INDEXES = (Index(COLLECTION, (("tenant_id", 1), ("_id", 1))),)
MOST_BUDGETS = 200
BY_NAME: Sort = (("_id", 1),)


class BudgetRepository:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def list_all(self, tenant_id: str) -> list[Document]:
        return await self._documents.of_tenant(tenant_id).find_many({}, limit=MOST_BUDGETS, sort=BY_NAME)

    async def find(self, tenant_id: str, scope: Scope, name: str) -> Document | None:
        return await self._documents.of_tenant(tenant_id).find_one({"_id": _id(tenant_id, scope, name)})

    async def put(
        self, tenant_id: str, scope: Scope, name: str, limits: Mapping[str, Any], *, by: str, at: datetime
    ) -> None:
        """Replace what is stored, or store it."""
        change = {
            "$set": {"limits": dict(limits), "updated_at": at, "updated_by": by},
            "$setOnInsert": {"scope": scope.value, "name": name},
        }
        where = {"_id": _id(tenant_id, scope, name)}
        try:
            await self._documents.of_tenant(tenant_id).update_one(where, change, upsert=True)
        except DuplicateDocument:
            # Inserted by another request in between; the later one holds.
            await self._documents.of_tenant(tenant_id).update_one(where, change)

    async def delete(self, tenant_id: str, scope: Scope, name: str) -> bool:
        """False when there was none."""
        return await self._documents.of_tenant(tenant_id).delete_one({"_id": _id(tenant_id, scope, name)})

    async def read(self, tenant_id: str) -> Budgets:
        """All that the tenant has stored, as what holds."""
        return budgets_of(await self.list_all(tenant_id))


def budgets_of(documents: list[Document]) -> Budgets:
    by_scope: dict[str, dict[str, Mapping[str, Any]]] = {scope.value: {} for scope in Scope}
    for document in documents:
        by_scope[document["scope"]][document["name"]] = document["limits"]
    session = by_scope[Scope.SESSION].get(EVERYBODY)
    return Budgets(
        tenants={name: PeriodBudget(**limits) for name, limits in by_scope[Scope.TENANT].items()},
        agents={name: PeriodBudget(**limits) for name, limits in by_scope[Scope.AGENT].items()},
        session=BudgetLimits(**session) if session else None,
    )


def _id(tenant_id: str, scope: Scope, name: str) -> str:
    return f"{tenant_id}:{scope}:{name}"
