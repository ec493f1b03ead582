"""The HTTP routes of kept logs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from app.database.documents import Document
from app.http.body_limit import JSON, Documents
from app.http.openapi import responses, writing
from app.http.pagination import Cursor, decode_cursor, encode_cursor
from app.http.parameters import MAX_PAGE_SIZE, IdempotencyKey
from app.http.timestamps import Timestamp, check_span, in_utc
from app.identity.authentication import CurrentPrincipal
from app.logs.models import LogLevel, LogQuery
from app.logs.reading import JSON_LINES, MAX_BYTES, LogLine
from app.logs.service import LogService

PREFIX = "/v1/logs"
DOCUMENTS = {PREFIX: Documents(MAX_BYTES, (JSON, JSON_LINES))}

router = APIRouter(prefix=PREFIX, tags=["Logs"])
EmptyIsNone = BeforeValidator(lambda value: value or None)
Name = Annotated[str, StringConstraints(max_length=200)]
_SCHEMA = LogLine.model_json_schema(ref_template="#/components/schemas/{model}")
# What it refers to is among the schemas of the answers.
_LINE = {name: part for name, part in _SCHEMA.items() if name != "$defs"}
# The body is no model of the route: JSON Lines are none, and problems are answered with their places.
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "At most 1 MiB and 1000 entries of at most 16 KiB, all of one tenant.",
        "content": {
            JSON: {"schema": {"type": "array", "items": _LINE}},
            JSON_LINES: {"schema": {"type": "string"}},
        },
    }
}


class LogsTaken(BaseModel):
    accepted: int = Field(description="How many entries were kept: all that were sent.")
    api_version: Literal["v1"] = "v1"


class KeptLine(BaseModel):
    id: str
    at: Timestamp = Field(description="When it happened, as the sender said.")
    received_at: Timestamp
    by: str = Field(description="Id of the key that sent it, or `worker`.")
    level: LogLevel
    message: str
    logger: str | None = None
    task_id: str | None = None
    execution_id: str | None = None
    step: str | None = None
    agent: str | None = None
    trace_id: str | None = None
    fields: dict[str, Any]


class LogListResponse(BaseModel):
    items: list[KeptLine]
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> LogService:
    service: LogService = request.app.state.logs
    return service


Service = Annotated[LogService, Depends(_service)]


@router.post("", status_code=202, responses=writing(), openapi_extra=_BODY)
async def send_logs(
    request: Request, service: Service, principal: CurrentPrincipal, idempotency_key: IdempotencyKey
) -> LogsTaken:
    """Keep log entries: a JSON array, or JSON Lines. One that is wrong is answered with its place, and none is kept."""
    as_lines = request.headers.get("content-type", "").lower().startswith(JSON_LINES)
    accepted = await service.take(principal, await request.body(), as_lines=as_lines, idempotency_key=idempotency_key)
    return LogsTaken(accepted=accepted)


async def _query(
    q: Annotated[str | None, EmptyIsNone, Query(max_length=200, description="Whole words, all of them.")] = None,
    level: Annotated[LogLevel, Query(description="The least.")] = LogLevel.DEBUG,
    task_id: Annotated[Name | None, EmptyIsNone, Query(description="Only of this task.")] = None,
    execution_id: Annotated[Name | None, EmptyIsNone, Query(description="Only of this execution.")] = None,
    since: Annotated[datetime | None, EmptyIsNone, Query(alias="from", description="At or after this time.")] = None,
    until: Annotated[datetime | None, EmptyIsNone, Query(alias="to", description="Before this time.")] = None,
    received_from: Annotated[
        datetime | None, EmptyIsNone, Query(description="Received at or after this time: for following.")
    ] = None,
) -> LogQuery:
    begin, end = in_utc(since, "from"), in_utc(until, "to")
    check_span(begin, end, "from", "to")
    return LogQuery(q, level, task_id, execution_id, begin, end, in_utc(received_from, "received_from"))


@router.get("", responses=responses(422, 503))
async def list_logs(
    service: Service,
    principal: CurrentPrincipal,
    query: Annotated[LogQuery, Depends(_query)],
    page_size: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Entries per answer.")] = MAX_PAGE_SIZE,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the last answer.")] = None,
) -> LogListResponse:
    """Kept log entries, newest first. They are deleted LOG_RETENTION_DAYS after they were received."""
    after = decode_cursor(cursor) if cursor else None
    found, has_more = await service.list_newest(principal.tenant_id, query, limit=page_size, after=after)
    last = Cursor(found[-1]["at"], found[-1]["_id"]) if has_more else None
    return LogListResponse(items=[_present(one) for one in found], next_cursor=encode_cursor(last) if last else None)


def _present(document: Document) -> KeptLine:
    known = {name: document[name] for name in KeptLine.model_fields if name in document}
    fields = {one["name"]: one["value"] for one in document["fields"]}
    return KeptLine(**{**known, "id": document["_id"], "fields": fields})
