"""The HTTP routes of workflows."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import StringConstraints

from app.errors import Invalid
from app.governance.audit.recording import Record
from app.http.body_limit import JSON, Documents
from app.http.documents import MEDIA_TYPES, DocumentText, ExpectedVersion, document_body
from app.http.openapi import Responses, responses, writing
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.identity.authentication import CurrentPrincipal
from app.workflows.definitions.models import Pin, Release, SourceFormat, StoredWorkflow
from app.workflows.definitions.pins import LONGEST_PIN, MOST_PINS, pins_of
from app.workflows.definitions.schemas import (
    EXAMPLE_DIGEST,
    Graph,
    Part,
    ValidationResponse,
    WorkflowItem,
    WorkflowListResponse,
    WorkflowProblem,
    WorkflowResponse,
    WorkflowVersion,
    WorkflowVersionsResponse,
)
from app.workflows.definitions.service import DefinitionService, Found, Written
from app.workflows.language.loading import Definition
from app.workflows.language.problems import WorkflowInvalid

PREFIX = "/v1/workflows"
MAX_BYTES = 1024 * 1024
_DOCUMENTS = Documents(MAX_BYTES, MEDIA_TYPES)
DOCUMENTS = {PREFIX: _DOCUMENTS, f"{PREFIX}/validate": _DOCUMENTS}

router = APIRouter(prefix=PREFIX, tags=["Workflows"])
_EXAMPLE: dict[str, Any] = {
    "version": 1,
    "name": "content-analysis",
    "inputs": {"input_text": {"type": "string"}},
    "steps": {
        "sentiment": {
            "agent": "text_processor",
            "with": {"task_type": "sentiment_analysis", "text": "${{ inputs.input_text }}"},
        }
    },
}
_BODY = document_body("A workflow document, at most 1 MiB: YAML, or JSON in the strict or the short form.", _EXAMPLE)
_STORED: Responses = {200: {"model": WorkflowResponse, "description": "This version was stored before."}}

Reference = Annotated[
    str, Path(max_length=128, description="The `workflow_id` or the name.", examples=["content-analysis"])
]


async def _service(request: Request) -> DefinitionService:
    service: DefinitionService = request.app.state.definitions
    return service


Service = Annotated[DefinitionService, Depends(_service)]


async def _source_format(request: Request) -> SourceFormat:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return SourceFormat.JSON if media_type == JSON else SourceFormat.YAML


async def _pins(
    part: Annotated[
        list[Annotated[str, StringConstraints(max_length=LONGEST_PIN)]],
        Query(
            default_factory=list,
            max_length=MOST_PINS,
            description="REFERENCE=NAME@DIGEST: what the document calls REFERENCE is this stored version. "
            "Without one, a reference is the name of a stored workflow.",
            examples=[[f"delivery/design.yaml=design@{EXAMPLE_DIGEST}"]],
        ),
    ],
) -> tuple[Pin, ...]:
    return pins_of(part)


async def _written(
    text: DocumentText,
    source_format: Annotated[SourceFormat, Depends(_source_format)],
    parts: Annotated[tuple[Pin, ...], Depends(_pins)],
) -> Written:
    return Written(text, source_format, parts)


Current = Annotated[
    bool, Query(description="False: store the version for others to call; what the name stands for stays.")
]


async def _expected(expected: ExpectedVersion, current: Current = True) -> str | None:
    if expected is not None and not current:
        raise Invalid("If-Match is about the current version; leave it out, or current=false", field="If-Match")
    return expected


@router.post("", status_code=201, responses={**writing(412), **_STORED}, openapi_extra=_BODY)
async def put_workflow(
    document: Annotated[Written, Depends(_written)],
    expected: Annotated[str | None, Depends(_expected)],
    response: Response,
    service: Service,
    principal: CurrentPrincipal,
    record: Record,
    current: Current = True,
) -> WorkflowResponse:
    """Store a document as the current version of the workflow it names: 201 for a new version, 200 for a known one."""
    tenant_id, by = principal.tenant_id, principal.key_id
    if current:
        stored = await service.put(tenant_id, document, by=by, expected=expected)
    else:
        stored = await service.keep(tenant_id, document, by=by)
    name, version = stored.found.version.contents.name, stored.found.version.digest
    await record("workflow.put", {"workflow": name}, {"digest": version, "is_new": stored.is_new, "current": current})
    response.status_code = 201 if stored.is_new else 200
    if workflow := stored.found.workflow:
        query = "" if current else f"?version={version}"
        response.headers["Location"] = f"{PREFIX}/{workflow.id}{query}"
    return _present(stored.found, response)


@router.post("/validate", responses=writing(), openapi_extra=_BODY)
async def validate_workflow(
    document: Annotated[Written, Depends(_written)], service: Service, principal: CurrentPrincipal
) -> ValidationResponse:
    """Whether a document is valid here, with every problem of one that is not. Nothing is stored."""
    try:
        return _valid(await service.validate(principal.tenant_id, document))
    except WorkflowInvalid as error:
        return _invalid(error)


@router.get("", responses=responses(422, 503))
async def list_workflows(service: Service, principal: CurrentPrincipal, params: PageQuery) -> WorkflowListResponse:
    """The workflows by their current versions, newest first, by page or by cursor."""
    page = await service.list_page(principal.tenant_id, params)
    return WorkflowListResponse(
        items=[_present_item(workflow) for workflow in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.created_at, last.name)),
    )


@router.get("/{workflow}", responses=responses(404, 422, 503))
async def get_workflow(
    workflow: Reference,
    response: Response,
    service: Service,
    principal: CurrentPrincipal,
    version: Annotated[
        str | None, Query(max_length=128, description="A digest; else the current version.", examples=[EXAMPLE_DIGEST])
    ] = None,
) -> WorkflowResponse:
    """One version: the document, its graph, what it takes and gives, and the newest versions."""
    return _present(await service.get(principal.tenant_id, workflow, digest=version), response)


@router.get("/{workflow}/versions", responses=responses(404, 422, 503))
async def list_workflow_versions(
    workflow: Reference, service: Service, principal: CurrentPrincipal, params: PageQuery
) -> WorkflowVersionsResponse:
    """The versions that are or were current, newest first, by page or by cursor."""
    found, page = await service.list_versions(principal.tenant_id, workflow, params)
    return WorkflowVersionsResponse(
        items=[_present_version(release, found.digest) for release in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.created_at, last.digest)),
    )


@router.delete("/{workflow}", status_code=204, response_class=Response, responses=responses(403, 404, 422, 503))
async def delete_workflow(
    workflow: Reference, service: Service, principal: CurrentPrincipal, record: Record
) -> Response:
    """Delete a workflow: it begins no more executions. What calls it already keeps the version it was stored with."""
    await service.delete(principal.tenant_id, workflow, by=principal.key_id)
    await record("workflow.deleted", {"workflow": workflow})
    return Response(status_code=204)


def _present(found: Found, response: Response) -> WorkflowResponse:
    workflow, version = found.workflow, found.version
    current = workflow.digest if workflow else None
    response.headers["ETag"] = f'"{version.digest}"'
    contents = version.contents
    return WorkflowResponse(
        workflow_id=workflow.id if workflow else None,
        name=contents.name,
        digest=version.digest,
        current=version.digest == current,
        description=contents.description,
        created_at=version.created_at,
        created_by=version.created_by,
        document=contents.document,
        source_text=contents.source_text,
        source_format=contents.source_format,
        graph=Graph.model_validate(contents.graph),
        inputs=contents.inputs,
        outputs=contents.outputs,
        parts=[Part(**asdict(pin)) for pin in contents.parts],
        versions=[_present_version(release, current) for release in found.releases],
    )


def _present_item(workflow: StoredWorkflow) -> WorkflowItem:
    fields = {name: getattr(workflow, name) for name in WorkflowItem.model_fields if name != "workflow_id"}
    return WorkflowItem(workflow_id=workflow.id, **fields)


def _present_version(release: Release, current: str | None) -> WorkflowVersion:
    return WorkflowVersion(
        digest=release.digest,
        created_at=release.created_at,
        created_by=release.created_by,
        current=release.digest == current,
    )


def _valid(definition: Definition) -> ValidationResponse:
    return ValidationResponse(valid=True, name=definition.workflow.name, digest=definition.digest, problems=[])


def _invalid(error: WorkflowInvalid) -> ValidationResponse:
    problems = [WorkflowProblem(**asdict(problem)) for problem in error.problems]
    return ValidationResponse(valid=False, name=None, digest=None, problems=problems)
