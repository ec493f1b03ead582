"""The HTTP routes of executions that begin, read and steer one; those about its steps and events are beside them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BeforeValidator

from app.governance.audit.recording import Record, Recorder
from app.http.openapi import Responses, responses, writing
from app.http.pagination import Cursor, Page, PageParams
from app.http.parameters import IdempotencyKey, PageQuery
from app.http.preferences import PreferredWait, preference_applied
from app.http.timestamps import check_span, in_utc
from app.identity.authentication import CurrentPrincipal
from app.jobs.models import Job
from app.tasks.input_artifacts import NamedArtifacts
from app.tasks.models import Caller
from app.tasks.schemas import EXAMPLE_ID
from app.workflows.definitions.routes import Reference
from app.workflows.definitions.schemas import EXAMPLE_DIGEST
from app.workflows.executions.api import ExecutionApi
from app.workflows.executions.drawings import DrawingFormat
from app.workflows.executions.listing import ExecutionQuery
from app.workflows.executions.models import ExecutionStatus, status_of
from app.workflows.executions.presentation import present_summary
from app.workflows.executions.schemas import (
    ExecuteWorkflowRequest,
    ExecutionAccepted,
    ExecutionListResponse,
    ExecutionResponse,
    ExecutionStatusResponse,
    ExecutionWhyResponse,
    ForkRequest,
    SignalRequest,
    SignalResponse,
)
from app.workflows.executions.service import Begun, ForkWish
from app.workflows.executions.signals import Signal

router = APIRouter(prefix="/v1", tags=["Workflows"])
EmptyIsNone = BeforeValidator(lambda value: value or None)
ExecutionId = Annotated[str, Path(description="The id that `execute` answered.", examples=[EXAMPLE_ID])]


async def _api(request: Request) -> ExecutionApi:
    api: ExecutionApi = request.app.state.execution_api
    return api


Api = Annotated[ExecutionApi, Depends(_api)]


async def _caller(request: Request, principal: CurrentPrincipal) -> Caller:
    return Caller(principal.tenant_id, principal.key_id, request.state.request_id, request.state.trace_id)


CurrentCaller = Annotated[Caller, Depends(_caller)]


@router.post("/workflows/{workflow}/execute", status_code=202, responses=writing(404))
async def execute_workflow(
    workflow: Reference,
    body: ExecuteWorkflowRequest,
    response: Response,
    api: Api,
    caller: CurrentCaller,
    wait: PreferredWait,
    idempotency_key: IdempotencyKey,
    artifacts: NamedArtifacts,
) -> ExecutionAccepted:
    """Accept an execution of a stored workflow: its inputs are checked, it is stored and carried out by workers."""
    begun = await api.executions.start(
        caller,
        workflow,
        await artifacts.read_into(caller.tenant_id, body.input_data),
        metadata=body.metadata,
        digest=body.version,
        idempotency_key=idempotency_key,
    )
    _tell(begun, response)
    response.headers.update(preference_applied(wait))
    return await api.accepted(begun, wait=wait)


_PICTURE: Responses = {
    200: {
        "description": "The picture.",
        "content": {form.media_type: {"schema": {"type": "string"}} for form in DrawingFormat},
    }
}
# It has its styles in itself, and nothing that runs.
_AS_PICTURE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
}
Form = Annotated[DrawingFormat, Query(alias="format", description="What the picture is written in.")]


@router.get("/workflows/{workflow}/graph", response_class=Response, responses={**responses(404, 422, 503), **_PICTURE})
async def draw_workflow(
    workflow: Reference,
    api: Api,
    principal: CurrentPrincipal,
    form: Form = DrawingFormat.MERMAID,
    version: Annotated[
        str | None, Query(max_length=128, description="A digest; else the current version.", examples=[EXAMPLE_DIGEST])
    ] = None,
) -> Response:
    """A picture of one version of a workflow."""
    drawn = await api.drawings.of_workflow(principal.tenant_id, workflow, form, digest=version)
    return Response(drawn, media_type=form.media_type, headers=_AS_PICTURE)


@router.get(
    "/executions/{execution_id}/graph", response_class=Response, responses={**responses(404, 422, 503), **_PICTURE}
)
async def draw_execution(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, form: Form = DrawingFormat.MERMAID
) -> Response:
    """A picture of an execution with how its steps ended; those within repetitions are drawn without."""
    execution = await api.executions.get_progress(principal.tenant_id, execution_id)
    drawn = await api.drawings.of_execution(execution, form)
    return Response(drawn, media_type=form.media_type, headers=_AS_PICTURE)


async def _query(
    status: Annotated[ExecutionStatus | None, EmptyIsNone, Query(description="Only executions in this status.")] = None,
    workflow: Annotated[
        str | None, Query(max_length=128, description="Only those of this workflow, by its id or name.")
    ] = None,
    created_after: Annotated[datetime | None, EmptyIsNone, Query(description="Accepted at or after this time.")] = None,
    created_before: Annotated[datetime | None, EmptyIsNone, Query(description="Accepted before this time.")] = None,
) -> ExecutionQuery:
    after, before = in_utc(created_after, "created_after"), in_utc(created_before, "created_before")
    check_span(after, before, "created_after", "created_before")
    return ExecutionQuery(status, workflow or None, after, before)


@router.get("/executions", responses=responses(422, 503))
async def list_executions(
    api: Api, principal: CurrentPrincipal, query: Annotated[ExecutionQuery, Depends(_query)], params: PageQuery
) -> ExecutionListResponse:
    """Summaries of executions, newest first, by page or by cursor."""
    return _present_page(await api.executions.list_page(principal.tenant_id, query, params), params)


@router.get("/executions/{execution_id}", responses=responses(404, 422, 503))
async def get_execution(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, wait: PreferredWait
) -> ExecutionResponse:
    """The whole execution. With `wait` the answer is held until its status changes or the time is over."""
    return await api.show(await api.executions.get(principal.tenant_id, execution_id, wait=wait or None))


@router.get("/executions/{execution_id}/status", responses=responses(404, 503))
async def get_execution_status(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal
) -> ExecutionStatusResponse:
    """Where the execution is: as quick for ten thousand steps as for one."""
    return await api.show_status(principal.tenant_id, execution_id)


@router.get("/executions/{execution_id}/why", responses=responses(404, 503))
async def explain_execution(execution_id: ExecutionId, api: Api, principal: CurrentPrincipal) -> ExecutionWhyResponse:
    """What the execution waits for, in plain words, with the facts behind it."""
    execution, why = await api.explain(principal.tenant_id, execution_id)
    return ExecutionWhyResponse(
        execution_id=execution.id,
        status=status_of(execution),
        waiting_for=why.waiting_for,
        explanation=why.explanation,
        facts=why.facts,
    )


@router.post("/executions/{execution_id}/cancel", status_code=202, responses=writing(404, 409))
async def cancel_execution(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, record: Record
) -> ExecutionResponse:
    """Cancel an execution: steps that run are stopped, the others never begin, and its `finally` still runs."""
    execution = await api.steering.cancel(principal.tenant_id, execution_id, by=principal.key_id)
    await _record_if_others(record, "execution.cancelled", execution)
    return await api.show(execution)


@router.post("/executions/{execution_id}/pause", status_code=202, responses=writing(404, 409))
async def pause_execution(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, record: Record
) -> ExecutionResponse:
    """Begin no more steps until it is resumed; those that run go on to their end."""
    execution = await api.steering.pause(principal.tenant_id, execution_id, by=principal.key_id)
    await _record_if_others(record, "execution.paused", execution)
    return await api.show(execution)


@router.post("/executions/{execution_id}/resume", status_code=202, responses=writing(404, 409))
async def resume_execution(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, record: Record
) -> ExecutionResponse:
    """Let a paused execution go on where it was."""
    execution = await api.steering.resume(principal.tenant_id, execution_id, by=principal.key_id)
    await _record_if_others(record, "execution.resumed", execution)
    return await api.show(execution)


@router.post("/executions/{execution_id}/retry", status_code=202, responses=writing(404, 409))
async def retry_execution(
    execution_id: ExecutionId, api: Api, principal: CurrentPrincipal, idempotency_key: IdempotencyKey, record: Record
) -> ExecutionResponse:
    """Queue a failed or cancelled execution again; steps that have finished are not done again."""
    execution = await api.steering.retry(
        principal.tenant_id, execution_id, by=principal.key_id, idempotency_key=idempotency_key
    )
    await _record_if_others(record, "execution.retried", execution)
    return await api.show(execution)


@router.post("/executions/{execution_id}/fork", status_code=202, responses=writing(404))
async def fork_execution(
    execution_id: ExecutionId,
    body: ForkRequest,
    response: Response,
    api: Api,
    caller: CurrentCaller,
    wait: PreferredWait,
    idempotency_key: IdempotencyKey,
    *,
    step: Annotated[str, Query(alias="from", max_length=200, description="The first step to be carried out again.")],
) -> ExecutionAccepted:
    """A new execution with the outputs of the steps before this one, and with other inputs if you like."""
    wish = ForkWish(step, body.input_data, body.accept_changes)
    begun = await api.executions.fork(caller, execution_id, wish, idempotency_key=idempotency_key)
    _tell(begun, response)
    response.headers.update(preference_applied(wait))
    return await api.accepted(begun, wait=wait)


@router.post("/executions/{execution_id}/signal", status_code=202, responses=writing(404, 409))
async def signal_execution(
    body: SignalRequest,
    execution_id: ExecutionId,
    api: Api,
    principal: CurrentPrincipal,
    idempotency_key: IdempotencyKey,
) -> SignalResponse:
    """Tell an execution of an event: a step that waits for it ends by it, or it is kept for one that will."""
    taken = await api.steering.signal(
        principal.tenant_id,
        execution_id,
        Signal(body.event, body.key, body.data),
        by=principal.key_id,
        idempotency_key=idempotency_key,
    )
    return SignalResponse(delivered=int(taken), kept=not taken)


async def _record_if_others(record: Recorder, kind: str, execution: Job) -> None:
    await record.if_others(kind, {"execution_id": execution.id}, owner=execution.document["created_by"])


def _tell(begun: Begun, response: Response) -> None:
    response.headers["Location"] = f"/v1/executions/{begun.execution.id}"
    if begun.replayed:
        response.headers["Idempotent-Replayed"] = "true"


def _present_page(page: Page[Job], params: PageParams) -> ExecutionListResponse:
    return ExecutionListResponse(
        items=[present_summary(execution) for execution in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.created_at, last.id)),
    )
