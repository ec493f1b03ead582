"""The HTTP routes of an execution's steps, of what people answer them, and of its events and log."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BeforeValidator

from app.events.places import Place
from app.http.openapi import responses, writing
from app.http.parameters import MAX_PAGE_SIZE
from app.identity.authentication import CurrentPrincipal
from app.identity.event_tokens import MAX_AGE
from app.jobs.models import Job
from app.tasks.attempt_routes import After
from app.tasks.attempt_schemas import AttemptListResponse
from app.tasks.schemas import EventTokenResponse
from app.workflows.executions.answers import Answer
from app.workflows.executions.events import check_not_over
from app.workflows.executions.listing import StepQuery, StepStatus
from app.workflows.executions.logs import Level, LogQuery
from app.workflows.executions.presentation import present_lines, present_step_item
from app.workflows.executions.routes import Api, ExecutionId
from app.workflows.executions.schemas import AnswerRequest, LogsResponse, StepItem, StepListResponse, StepResponse

router = APIRouter(prefix="/v1/executions/{execution_id}", tags=["Workflows"])
EmptyIsNone = BeforeValidator(lambda value: value or None)
StepPath = Annotated[str, Path(max_length=2000, description="The path of a step instance.", examples=["review[2].fix"])]
Series = Annotated[
    int | None, Query(ge=1, le=10**6, description="Of which series of the execution; else the newest that has it.")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Entries per answer.")]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="Resume behind this event without a gap; 0 begins with the first."),
]


async def _step_query(
    status: Annotated[StepStatus | None, EmptyIsNone, Query(description="Only steps in this status.")] = None,
    path: Annotated[str | None, Query(max_length=2000, description="What the path begins with.")] = None,
) -> StepQuery:
    return StepQuery(status, path or None)


@router.get("/steps", responses=responses(404, 422, 503))
async def list_execution_steps(
    execution_id: ExecutionId,
    api: Api,
    principal: CurrentPrincipal,
    query: Annotated[StepQuery, Depends(_step_query)],
    page_size: Limit = MAX_PAGE_SIZE,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the last answer, or `steps_next`.")] = None,
) -> StepListResponse:
    """Step instances in the order in which they began."""
    return await api.list_steps(principal.tenant_id, execution_id, query, limit=page_size, cursor=cursor)


@router.get("/steps/{path}", responses=responses(404, 503))
async def get_execution_step(
    execution_id: ExecutionId, path: StepPath, api: Api, principal: CurrentPrincipal, series: Series = None
) -> StepResponse:
    """One step instance with what it was given and gave, and its attempts; of the newest series that has it."""
    return await api.show_step(principal.tenant_id, execution_id, path, series=series)


@router.get("/steps/{path}/attempts", responses=responses(404, 422, 503))
async def list_step_attempts(
    execution_id: ExecutionId,
    path: StepPath,
    api: Api,
    principal: CurrentPrincipal,
    after: After = 0,
    page_size: Limit = MAX_PAGE_SIZE,
) -> AttemptListResponse:
    """Every attempt that was ever made at a step instance, oldest first, those of lost workers too."""
    return await api.list_attempts(principal.tenant_id, execution_id, path, after=after, limit=page_size)


def _answer(body: AnswerRequest | None, *, approved: bool) -> Answer:
    return Answer(approved, body.comment, body.form) if body else Answer(approved)


@router.post("/steps/{path}/approve", status_code=202, responses=writing(404, 409))
async def approve_execution_step(
    execution_id: ExecutionId,
    path: StepPath,
    api: Api,
    principal: CurrentPrincipal,
    body: AnswerRequest | None = None,
) -> StepItem:
    """Approve a step that waits for it. With a quorum it goes on when so many keys have approved."""
    step = await api.answers.give(principal, execution_id, path, _answer(body, approved=True))
    return present_step_item(step)


@router.post("/steps/{path}/reject", status_code=202, responses=writing(404, 409))
async def reject_execution_step(
    execution_id: ExecutionId,
    path: StepPath,
    api: Api,
    principal: CurrentPrincipal,
    body: AnswerRequest | None = None,
) -> StepItem:
    """Reject a step that waits for an approval: it fails at once with APPROVAL_REJECTED."""
    step = await api.answers.give(principal, execution_id, path, _answer(body, approved=False))
    return present_step_item(step)


@router.get("/logs", responses=responses(404, 422, 503))
async def list_execution_logs(
    execution_id: ExecutionId,
    api: Api,
    principal: CurrentPrincipal,
    level: Annotated[Level, Query(description="The least.")] = Level.INFO,
    q: Annotated[str, Query(max_length=200, description="A text that path or message hold.")] = "",
    after: Annotated[int, Query(ge=0, lt=10**9, description="`next_cursor` of the last answer.")] = 0,
    page_size: Limit = MAX_PAGE_SIZE,
) -> LogsResponse:
    """What happened, line by line. With `q` an answer may have few lines and still a `next_cursor`: go on with it."""
    lines, following = await api.list_lines(
        principal.tenant_id, execution_id, LogQuery(level, q), after=after, limit=page_size
    )
    return LogsResponse(items=present_lines(lines), next_cursor=following)


@router.post("/events/token", status_code=201, responses=responses(404, 503))
async def create_execution_event_token(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal
) -> EventTokenResponse:
    """A short-lived token for `GET …/events?token=`, for clients that cannot send headers."""
    await api.executions.get_progress(principal.tenant_id, execution_id)
    token = api.event_tokens.issue(principal, execution_id)
    return EventTokenResponse(token=token, expires_in=int(MAX_AGE.total_seconds()))


async def _streamable(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, last_event_id: LastEventId = None
) -> Job:
    # Before the stream begins: once it has, an error could no longer become a 404, nor an end a 204.
    execution = await api.executions.get_progress(principal.tenant_id, execution_id)
    check_not_over(execution, Place.read(last_event_id))
    return execution


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses={**responses(404, 503), 204: {"description": "You have seen the final event; there will be no more."}},
)
async def stream_execution_events(
    execution: Annotated[Job, Depends(_streamable)], api: Api, last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """Status changes as unnamed events, and events named `step`; the stream ends after the final status."""
    async for event in api.stream(execution).events(Place.read(last_event_id)):
        yield event
