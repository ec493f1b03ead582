"""The HTTP routes of workflows."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from app.errors import Invalid
from app.http.body_limit import JSON, Documents
from app.http.openapi import Responses, responses, writing
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.identity.authentication import CurrentPrincipal
from app.workflows.definitions.models import Release, SourceFormat, StoredWorkflow
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
from app.workflows.definitions.service import DefinitionService, Found
from app.workflows.language.loading import Definition
from app.workflows.language.problems import WorkflowInvalid

PREFIX = "/v1/workflows"
MAX_BYTES = 1024 * 1024
YAML = ("application/yaml", "text/yaml")
_DOCUMENTS = Documents(MAX_BYTES, (*YAML, JSON))
DOCUMENTS = {PREFIX: _DOCUMENTS, f"{PREFIX}/validate": _DOCUMENTS}

router = APIRouter(prefix=PREFIX, tags=["Workflows"])
_ETAG = re.compile(r'"([!#-~]{1,128})"')
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
# The bodies are no models of the routes: what is wrong in them is answered with line and column.
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A workflow document, at most 1 MiB: YAML, or JSON in the strict or the short form.",
        "content": {
            JSON: {"schema": {"type": "object"}, "example": _EXAMPLE},
            **{media_type: {"schema": {"type": "string"}} for media_type in YAML},
        },
    }
}
_STORED: Responses = {200: {"model": WorkflowResponse, "description": "This version was stored before."}}

Reference = Annotated[
    str, Path(max_length=128, description="The `workflow_id` or the name.", examples=["content-analysis"])
]


async def _service(request: Request) -> DefinitionService:
    service: DefinitionService = request.app.state.definitions
    return service


Service = Annotated[DefinitionService, Depends(_service)]


async def _document(request: Request) -> str:
    """The body as text. Raises `Invalid` when it is none."""
    body = await request.body()
    if not body.strip():
        raise Invalid("the body is empty; send a workflow document", field="body", type="missing")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"the body is not UTF-8 at byte {error.start}", field="body") from None


Document = Annotated[str, Depends(_document)]


async def _source_format(request: Request) -> SourceFormat:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return SourceFormat.JSON if media_type == JSON else SourceFormat.YAML


async def _expected(
    if_match: Annotated[
        str | None,
        Header(description="The ETag of an answer: store only when that is the current version.", max_length=200),
    ] = None,
) -> str | None:
    if if_match is None:
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid('If-Match takes one ETag of an answer, as "sha256:..."', field="If-Match")
    return found[1]


@router.post("", status_code=201, responses={**writing(412), **_STORED}, openapi_extra=_BODY)
async def put_workflow(
    text: Document,
    source_format: Annotated[SourceFormat, Depends(_source_format)],
    expected: Annotated[str | None, Depends(_expected)],
    response: Response,
    service: Service,
    principal: CurrentPrincipal,
) -> WorkflowResponse:
    """Store a document as the current version of the workflow it names: 201 for a new version, 200 for a known one."""
    stored = await service.put(principal.tenant_id, text, source_format, by=principal.key_id, expected=expected)
    response.status_code = 201 if stored.is_new else 200
    response.headers["Location"] = f"{PREFIX}/{stored.found.workflow.id}"
    return _present(stored.found, response)


@router.post("/validate", responses=writing(), openapi_extra=_BODY)
async def validate_workflow(text: Document, service: Service, principal: CurrentPrincipal) -> ValidationResponse:
    """Whether a document is valid here, with every problem of one that is not. Nothing is stored."""
    try:
        return _valid(await service.validate(principal.tenant_id, text))
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
        items=[_present_version(release, found) for release in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.created_at, last.digest)),
    )


@router.delete("/{workflow}", status_code=204, response_class=Response, responses=responses(403, 404, 422, 503))
async def delete_workflow(workflow: Reference, service: Service, principal: CurrentPrincipal) -> Response:
    """Delete a workflow: it begins no more executions. What calls it already keeps the version it was stored with."""
    await service.delete(principal.tenant_id, workflow, by=principal.key_id)
    return Response(status_code=204)


def _present(found: Found, response: Response) -> WorkflowResponse:
    workflow, version = found.workflow, found.version
    response.headers["ETag"] = f'"{version.digest}"'
    contents = version.contents
    return WorkflowResponse(
        workflow_id=workflow.id,
        name=workflow.name,
        digest=version.digest,
        current=version.digest == workflow.digest,
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
        versions=[_present_version(release, workflow) for release in found.releases],
    )


def _present_item(workflow: StoredWorkflow) -> WorkflowItem:
    fields = {name: getattr(workflow, name) for name in WorkflowItem.model_fields if name != "workflow_id"}
    return WorkflowItem(workflow_id=workflow.id, **fields)


def _present_version(release: Release, workflow: StoredWorkflow) -> WorkflowVersion:
    return WorkflowVersion(
        digest=release.digest,
        created_at=release.created_at,
        created_by=release.created_by,
        current=release.digest == workflow.digest,
    )


def _valid(definition: Definition) -> ValidationResponse:
    return ValidationResponse(valid=True, name=definition.workflow.name, digest=definition.digest, problems=[])


def _invalid(error: WorkflowInvalid) -> ValidationResponse:
    problems = [WorkflowProblem(**asdict(problem)) for problem in error.problems]
    return ValidationResponse(valid=False, name=None, digest=None, problems=problems)
