"""The HTTP routes of tasks."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BeforeValidator, StringConstraints

from app.database.documents import Document
from app.events.live import LiveTask
from app.events.places import Place
from app.events.stream import EventStream, check_not_over
from app.governance.audit.recording import Record
from app.governance.budgets.models import Unit
from app.http.openapi import responses, writing
from app.http.pagination import Cursor as ListCursor
from app.http.pagination import Page, PageParams
from app.http.parameters import IdempotencyKey, PageQuery
from app.http.preferences import PreferredWait, preference_applied
from app.http.timestamps import check_span, in_utc
from app.identity.authentication import CurrentPrincipal
from app.identity.event_tokens import MAX_AGE
from app.jobs.models import Status
from app.sessions.routes import SessionId as SessionPath
from app.sessions.routes import Sessions
from app.tasks.api import TaskApi
from app.tasks.budget import raised_budget
from app.tasks.input_artifacts import NamedArtifacts
from app.tasks.models import Budget, Caller, Submission, TaskQuery
from app.tasks.presentation import present_accepted, present_summary, present_task
from app.tasks.retry_policy import read_wish
from app.tasks.schemas import (
    EXAMPLE_ID,
    AcceptedResponse,
    BudgetRaise,
    EventTokenResponse,
    ExecuteRequest,
    SessionId,
    TaskListResponse,
    TaskResponse,
    WhyResponse,
)

router = APIRouter(prefix="/v1", tags=["Tasks"])
# A form that leaves a filter empty sends it all the same.
AgentType = Annotated[str, StringConstraints(max_length=64)]
EmptyIsNone = BeforeValidator(lambda value: value or None)
TaskId = Annotated[str, Path(description="The id that `execute` answered.", examples=[EXAMPLE_ID])]


async def _api(request: Request) -> TaskApi:
    api: TaskApi = request.app.state.task_api
    return api


Api = Annotated[TaskApi, Depends(_api)]


@router.post("/agent/execute", status_code=202, responses=writing(404))
async def execute(
    body: ExecuteRequest,
    request: Request,
    response: Response,
    api: Api,
    principal: CurrentPrincipal,
    wait: PreferredWait,
    idempotency_key: IdempotencyKey,
    artifacts: NamedArtifacts,
) -> AcceptedResponse:
    """Accept a task in natural language: it is stored, routed to an agent and carried out in the background."""
    api.check_length(body.task)
    caller = Caller(principal.tenant_id, principal.key_id, request.state.request_id, request.state.trace_id)
    inputs = await artifacts.read_into(principal.tenant_id, body.input)
    accepted = await api.tasks.submit(_submission(body, inputs), caller, idempotency_key=idempotency_key)
    task = accepted.task
    if wait:
        task = await api.tasks.wait_for_end(task, wait)
    response.headers.update({"Location": f"/v1/tasks/{task['_id']}", **preference_applied(wait)})
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return present_accepted(task, waited=bool(wait))


async def _task_query(
    status: Annotated[Status | None, EmptyIsNone, Query(description="Only tasks in this status.")] = None,
    agent_type: Annotated[AgentType | None, EmptyIsNone, Query(description="Only tasks of this kind of agent.")] = None,
    session_id: Annotated[SessionId | None, EmptyIsNone, Query(description="Only tasks of this session.")] = None,
    created_after: Annotated[datetime | None, EmptyIsNone, Query(description="Accepted at or after this time.")] = None,
    created_before: Annotated[datetime | None, EmptyIsNone, Query(description="Accepted before this time.")] = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Words the task begins a word with, all of them.")
    ] = None,
) -> TaskQuery:
    after, before = in_utc(created_after, "created_after"), in_utc(created_before, "created_before")
    check_span(after, before, "created_after", "created_before")
    return TaskQuery(status, agent_type, session_id, after, before, q or None)


@router.get("/tasks", responses=responses(422, 503))
async def list_tasks(
    api: Api, principal: CurrentPrincipal, query: Annotated[TaskQuery, Depends(_task_query)], params: PageQuery
) -> TaskListResponse:
    """Summaries of tasks, newest first, by page or by cursor."""
    page = await api.tasks.list_page(principal.tenant_id, query, params)
    return _present_page(page, params)


@router.get("/sessions/{session_id}/tasks", tags=["Sessions"], responses=responses(404, 422, 503))
async def list_session_tasks(
    session_id: SessionPath, api: Api, sessions: Sessions, principal: CurrentPrincipal, params: PageQuery
) -> TaskListResponse:
    """Summaries of a session's tasks, newest first, by page or by cursor."""
    since = await sessions.get_beginning(principal.tenant_id, session_id)
    query = TaskQuery(session_id=session_id, created_after=since)
    return _present_page(await api.tasks.list_page(principal.tenant_id, query, params), params)


@router.get("/tasks/{task_id}", responses=responses(404, 422, 503))
async def get_task(task_id: TaskId, api: Api, principal: CurrentPrincipal, wait: PreferredWait) -> TaskResponse:
    """The whole task. With `wait` the answer is held until its status changes or the time is over."""
    return present_task(await api.tasks.get(principal.tenant_id, task_id, wait=wait or None))


@router.post("/tasks/{task_id}/cancel", status_code=202, responses=writing(404, 409))
async def cancel_task(task_id: TaskId, api: Api, principal: CurrentPrincipal, record: Record) -> TaskResponse:
    """Cancel a task: at once while it waits, within a second while it runs."""
    task = await api.tasks.cancel(principal.tenant_id, task_id)
    await record.if_others("task.cancelled", {"task_id": task_id}, owner=task["created_by"])
    return present_task(task)


@router.post("/tasks/{task_id}/retry", status_code=202, responses=writing(404, 409))
async def retry_task(
    task_id: TaskId, api: Api, principal: CurrentPrincipal, idempotency_key: IdempotencyKey, record: Record
) -> TaskResponse:
    """Queue a failed or cancelled task again as a new series of attempts; its history is kept."""
    task = await api.tasks.retry(principal.tenant_id, task_id, idempotency_key=idempotency_key)
    await record.if_others("task.retried", {"task_id": task_id}, owner=task["created_by"])
    return present_task(task)


@router.post("/tasks/{task_id}/budget", status_code=202, responses=writing(404, 409))
async def raise_task_budget(
    body: BudgetRaise,
    task_id: TaskId,
    api: Api,
    principal: CurrentPrincipal,
    idempotency_key: IdempotencyKey,
    record: Record,
) -> TaskResponse:
    """Let a task that a budget paused go on where it was, under higher limits."""
    raised = {Unit(name): limit for name, limit in body.model_dump(exclude_none=True).items()}
    answer = raised_budget(raised)
    task = await api.tasks.resume(principal.tenant_id, task_id, answer, idempotency_key=idempotency_key)
    await record("task.budget_raised", {"task_id": task_id}, {"limits": body.model_dump(exclude_none=True)})
    return present_task(task)


@router.get("/tasks/{task_id}/why", responses=responses(404, 503))
async def explain_task(task_id: TaskId, api: Api, principal: CurrentPrincipal) -> WhyResponse:
    """What the task waits for, in plain words, with the facts behind it."""
    task, why = await api.explain(principal.tenant_id, task_id)
    return WhyResponse(
        task_id=task["_id"],
        status=Status(task["status"]),
        waiting_for=why.waiting_for,
        explanation=why.explanation,
        facts=why.facts,
    )


@router.post("/tasks/{task_id}/events/token", status_code=201, responses=responses(404, 503))
async def create_event_token(task_id: TaskId, api: Api, principal: CurrentPrincipal) -> EventTokenResponse:
    """A short-lived token for `GET …/events?token=`, for clients that cannot send headers."""
    await api.tasks.get(principal.tenant_id, task_id)
    token = api.event_tokens.issue(principal, task_id)
    return EventTokenResponse(token=token, expires_in=int(MAX_AGE.total_seconds()))


LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Resume behind this event without a gap.")
]


async def _streamable_task(
    task_id: TaskId, api: Api, principal: CurrentPrincipal, last_event_id: LastEventId = None
) -> Document:
    # Before the stream begins: once it has, an error could no longer become a 404, nor an end a 204.
    task = await api.tasks.get(principal.tenant_id, task_id)
    check_not_over(task, Place.read(last_event_id))
    return task


@router.get(
    "/tasks/{task_id}/events",
    response_class=EventSourceResponse,
    responses={**responses(404, 503), 204: {"description": "You have seen the final event; there will be no more."}},
)
async def stream_task_events(
    task: Annotated[Document, Depends(_streamable_task)],
    api: Api,
    principal: CurrentPrincipal,
    last_event_id: LastEventId = None,
    *,
    live: Annotated[
        bool, Query(description="Also what happens in between: events named `run`, `tool` and `token`.")
    ] = True,
) -> AsyncIterator[ServerSentEvent]:
    """Status changes as unnamed server-sent events, the current one first; the stream ends after the final one."""
    stream = EventStream(
        LiveTask(principal.tenant_id, task["_id"]),
        lambda: api.tasks.get_progress(principal.tenant_id, task["_id"]),
        api.signals,
        live=api.live if live else None,
    )
    async for event in stream.events(Place.read(last_event_id)):
        yield event


def _submission(body: ExecuteRequest, inputs: dict[str, Any]) -> Submission:
    return Submission(
        text=body.task,
        session_id=body.session_id,
        agent=body.agent,
        priority=body.priority,
        deadline=timedelta(seconds=body.deadline_seconds) if body.deadline_seconds else None,
        metadata=body.metadata,
        inputs=inputs,
        budget=Budget(**body.budget.model_dump()) if body.budget else None,
        retry=read_wish(body.retry.model_dump()) if body.retry else None,
        clarify=body.clarify,
        evaluation=body.evaluation,
    )


def _present_page(page: Page[Document], params: PageParams) -> TaskListResponse:
    return TaskListResponse(
        items=[present_summary(task) for task in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: ListCursor(last["created_at"], last["_id"])),
    )
