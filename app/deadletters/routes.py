"""The HTTP routes of dead letters."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.database.documents import Document
from app.deadletters.models import DeadLetterQuery
from app.deadletters.schemas import (
    DeadLetter,
    DeadLetterListResponse,
    DeadLetterResponse,
    RedriveRequest,
    RedriveResponse,
)
from app.deadletters.service import DeadLetterService
from app.governance.audit.recording import Record
from app.http.openapi import responses, writing
from app.http.pagination import Cursor
from app.http.parameters import IdempotencyKey, PageQuery
from app.http.timestamps import check_span, in_utc
from app.identity.authentication import CurrentPrincipal
from app.tasks.models import agent_of
from app.tasks.presentation import present_history, present_task
from app.tasks.routes import AgentType, EmptyIsNone, TaskId
from app.tasks.schemas import TaskError, TaskResponse

router = APIRouter(prefix="/v1/dead-letters", tags=["Dead letters"])
ErrorType = AgentType


async def _service(request: Request) -> DeadLetterService:
    service: DeadLetterService = request.app.state.dead_letters
    return service


Service = Annotated[DeadLetterService, Depends(_service)]


async def _query(
    error_type: Annotated[ErrorType | None, EmptyIsNone, Query(description="Only failures of this type.")] = None,
    agent_type: Annotated[AgentType | None, EmptyIsNone, Query(description="Only tasks of this kind of agent.")] = None,
    failed_after: Annotated[datetime | None, EmptyIsNone, Query(description="Failed at or after this time.")] = None,
    failed_before: Annotated[datetime | None, EmptyIsNone, Query(description="Failed before this time.")] = None,
) -> DeadLetterQuery:
    return _checked(error_type, agent_type, failed_after, failed_before)


def _checked(
    error_type: str | None, agent_type: str | None, failed_after: datetime | None, failed_before: datetime | None
) -> DeadLetterQuery:
    after, before = in_utc(failed_after, "failed_after"), in_utc(failed_before, "failed_before")
    check_span(after, before, "failed_after", "failed_before")
    return DeadLetterQuery(error_type, agent_type, after, before)


@router.get("", responses=responses(422, 503))
async def list_dead_letters(
    service: Service, principal: CurrentPrincipal, query: Annotated[DeadLetterQuery, Depends(_query)], params: PageQuery
) -> DeadLetterListResponse:
    """Tasks that failed for good with reason and history, newest failure first, by page or by cursor."""
    page = await service.list_page(principal.tenant_id, query, params)
    return DeadLetterListResponse(
        items=[DeadLetter(**_fields(task, service.agent_type_of(task))) for task in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last["completed_at"], last["_id"])),
    )


@router.post("/redrive", status_code=202, responses=writing())
async def redrive_dead_letters(
    body: RedriveRequest,
    response: Response,
    service: Service,
    principal: CurrentPrincipal,
    idempotency_key: IdempotencyKey,
    record: Record,
) -> RedriveResponse:
    """Queue the dead letters that match again, the oldest first; each begins a new series of attempts."""
    filters = body.model_dump(mode="json", exclude_none=True)
    async with record.around("dead_letters.redriven", {}, {"filters": filters}) as detail:
        redriven = await service.redrive_many(
            principal.tenant_id,
            _checked(body.error_type, body.agent_type, body.failed_after, body.failed_before),
            limit=body.limit,
            everything=body.all,
            idempotency_key=idempotency_key,
        )
        detail["redriven"] = len(redriven.task_ids)
    if redriven.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return RedriveResponse(redriven=len(redriven.task_ids), task_ids=redriven.task_ids, remaining=redriven.has_more)


@router.get("/{task_id}", responses=responses(404, 503))
async def get_dead_letter(task_id: TaskId, service: Service, principal: CurrentPrincipal) -> DeadLetterResponse:
    """One task that failed for good; the whole task is at `/v1/tasks/{task_id}`."""
    task = await service.get(principal.tenant_id, task_id)
    return DeadLetterResponse(**_fields(task, service.agent_type_of(task)))


@router.post("/{task_id}/redrive", status_code=202, responses=writing(404, 409))
async def redrive_dead_letter(
    task_id: TaskId, service: Service, principal: CurrentPrincipal, idempotency_key: IdempotencyKey, record: Record
) -> TaskResponse:
    """Queue one dead letter again as a new series of attempts; its history is kept."""
    task = await service.redrive(principal.tenant_id, task_id, idempotency_key=idempotency_key)
    await record("dead_letter.redriven", {"task_id": task_id})
    return present_task(task)


def _fields(task: Document, agent_type: str | None) -> dict[str, Any]:
    return {
        "task_id": task["_id"],
        "error": TaskError(**task["error"]),
        "attempts": task["attempt"],
        "max_attempts": task["max_attempts"],
        "failed_at": task["completed_at"],
        "created_at": task["created_at"],
        "selected_agent": agent_of(task),
        "agent_type": agent_type,
        "session_id": task["session_id"],
        "history": present_history(task),
    }
