"""The HTTP routes of the audit trail, for admins: nothing here changes it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from app.governance.audit.entries import Entry
from app.governance.audit.recording import Record
from app.governance.audit.repository import AuditQuery
from app.governance.audit.service import AuditService
from app.http.openapi import Responses, responses
from app.http.pagination import Cursor, PageMeta
from app.http.parameters import PageQuery
from app.http.timestamps import check_span, in_utc
from app.identity.authentication import CurrentAdministrator

router = APIRouter(prefix="/v1/audit", tags=["Audit"])
JSON_LINES = "application/x-ndjson"
Name = Annotated[str, StringConstraints(max_length=200)]
EmptyIsNone = BeforeValidator(lambda value: value or None)
_LINES: Responses = {
    200: {"description": "One entry per line.", "content": {JSON_LINES: {"schema": {"type": "string"}}}}
}


class AuditEntry(BaseModel):
    """What was done. Types are wide: an entry that was tampered with is shown as it is."""

    seq: Any = Field(description="Its place in the chain of the tenant, from 1.", examples=[41])
    id: Any = None
    tenant_id: Any = None
    at: str = Field(examples=["2026-11-21T10:00:00.000Z"])
    kind: Any = Field(None, examples=["budget.put"])
    actor: Any = Field(None, description="Id of the key, or `system`.", examples=["4be1a0f2c3d4"])
    subject: Any = Field(examples=[{"scope": "agent", "name": "CodeAgent"}])
    detail: Any = Field(examples=[{"limits": {"day": {"usd": 10}}}])
    previous: Any = Field(None, description="The hash of the entry before; zeros for the first.")
    hash: Any = Field(None, description="SHA-256 of the entry without it, as canonical JSON.")


class AuditListResponse(BaseModel):
    items: list[AuditEntry]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class AuditHeadResponse(BaseModel):
    """The last entry. Kept elsewhere, it is what `orchestrate audit verify --anchor` takes."""

    seq: int = Field(description="0 while nothing is recorded.")
    hash: str
    anchor: str = Field(description="Both in one text.")
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> AuditService:
    service: AuditService = request.app.state.audit
    return service


Service = Annotated[AuditService, Depends(_service)]


async def _query(
    kind: Annotated[
        Name | None, EmptyIsNone, Query(description="Only acts of this kind.", examples=["key.used"])
    ] = None,
    actor: Annotated[Name | None, EmptyIsNone, Query(description="Only acts of this key.")] = None,
    subject: Annotated[
        Name | None, EmptyIsNone, Query(description="Only acts on this: an id, a name, an address.")
    ] = None,
    since: Annotated[
        datetime | None, EmptyIsNone, Query(alias="from", description="Done at or after this time.")
    ] = None,
    until: Annotated[datetime | None, EmptyIsNone, Query(alias="to", description="Done before this time.")] = None,
) -> AuditQuery:
    begin, end = in_utc(since, "from"), in_utc(until, "to")
    check_span(begin, end, "from", "to")
    return AuditQuery(kind, actor, subject, begin, end)


AuditFilter = Annotated[AuditQuery, Depends(_query)]


@router.get("", responses=responses(403, 422, 503))
async def list_audit_entries(
    service: Service, principal: CurrentAdministrator, query: AuditFilter, params: PageQuery
) -> AuditListResponse:
    """What was done, decided and refused, newest first, by page or by cursor."""
    page = await service.list_page(principal.tenant_id, query, params)
    return AuditListResponse(
        items=[AuditEntry(**entry) for entry in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(_position),
    )


@router.get("/head", responses=responses(403, 503))
async def get_audit_head(service: Service, principal: CurrentAdministrator) -> AuditHeadResponse:
    """The last entry's number and hash: keep them elsewhere, and nobody can rewrite what came before unnoticed."""
    head = await service.get_head(principal.tenant_id)
    return AuditHeadResponse(seq=head.seq, hash=head.hash, anchor=str(head))


@router.get("/export", response_class=StreamingResponse, responses={**responses(403, 422, 503), **_LINES})
async def export_audit_trail(
    service: Service, principal: CurrentAdministrator, query: AuditFilter, record: Record
) -> StreamingResponse:
    """The entries as JSON Lines in the order of the chain; without a filter it is what anybody can verify."""
    # So that a store that is down is a 503: once the stream has begun, it could only break off.
    await service.get_head(principal.tenant_id)
    await record("audit.exported", {}, query.told())
    return StreamingResponse(service.export(principal.tenant_id, query), media_type=JSON_LINES)


def _position(entry: Entry) -> Cursor:
    return Cursor(datetime.fromisoformat(entry["at"]), str(entry["seq"]))
