"""The HTTP routes of a tenant's policy."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from app.governance.policy.deciding import Decision
from app.governance.policy.loading import LIMITS, PolicyInvalid
from app.governance.policy.schemas import (
    EXAMPLE_DIGEST,
    DecideRequest,
    DecideResponse,
    DryRunChange,
    DryRunRequest,
    DryRunResponse,
    PolicyDecision,
    PolicyProblem,
    PolicyResponse,
    PolicyTextResponse,
    PolicyValidationResponse,
    PolicyVersion,
    PolicyVersionsResponse,
)
from app.governance.policy.service import DryRun, PolicyService, StoredPolicy, Window
from app.http.body_limit import Documents
from app.http.documents import MEDIA_TYPES, DocumentText, ExpectedVersion, document_body
from app.http.openapi import responses, writing
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.http.timestamps import check_span, in_utc
from app.identity.authentication import CurrentAdministrator, CurrentPrincipal

PREFIX = "/v1/policies"
_DOCUMENTS = Documents(LIMITS.size, MEDIA_TYPES)
DOCUMENTS = {f"{PREFIX}/current": _DOCUMENTS, f"{PREFIX}/validate": _DOCUMENTS}

router = APIRouter(prefix=PREFIX, tags=["Policies"])
_EXAMPLE: dict[str, Any] = {
    "version": 1,
    "rules": [
        {
            "name": "writes-need-a-person",
            "applies_to": ["tool"],
            "when": 'tool.side_effect == "external"',
            "decide": "require_approval",
        }
    ],
}
_BODY = document_body("A policy, at most 512 KiB: YAML or JSON.", _EXAMPLE)


async def _service(request: Request) -> PolicyService:
    service: PolicyService = request.app.state.policies
    return service


Service = Annotated[PolicyService, Depends(_service)]


@router.get("/current", responses=responses(404, 503))
async def get_policy(response: Response, service: Service, principal: CurrentPrincipal) -> PolicyResponse:
    """The policy that holds for your tenant: its own, or the deployment's."""
    return _present(await service.get(principal.tenant_id), response)


@router.put("/current", responses=writing(412), openapi_extra=_BODY)
async def put_policy(
    text: DocumentText,
    expected: ExpectedVersion,
    response: Response,
    service: Service,
    principal: CurrentAdministrator,
) -> PolicyResponse:
    """Let this policy hold for your tenant, instead of the deployment's; everywhere within seconds."""
    stored = await service.put(principal.tenant_id, text, by=principal.key_id, expected=expected)
    return _present(stored, response)


@router.delete("/current", status_code=204, response_class=Response, responses=responses(403, 404, 412, 422, 503))
async def delete_policy(expected: ExpectedVersion, service: Service, principal: CurrentAdministrator) -> Response:
    """Remove your tenant's policy; what the deployment configures holds from then on. Versions stay readable."""
    await service.delete(principal.tenant_id, by=principal.key_id, expected=expected)
    return Response(status_code=204)


@router.get("/versions", responses=responses(422, 503))
async def list_policy_versions(
    service: Service, principal: CurrentPrincipal, params: PageQuery
) -> PolicyVersionsResponse:
    """Every version that was ever stored, newest first, by page or by cursor."""
    current, page = await service.list_versions(principal.tenant_id, params)
    return PolicyVersionsResponse(
        items=[
            PolicyVersion(
                digest=one.digest,
                created_at=one.created_at,
                created_by=one.created_by,
                current=one.digest == current,
            )
            for one in page.items
        ],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.created_at, last.digest)),
    )


@router.get("/versions/{digest}", responses=responses(404, 422, 503))
async def get_policy_version(
    digest: Annotated[str, Path(max_length=128, examples=[EXAMPLE_DIGEST])],
    service: Service,
    principal: CurrentPrincipal,
) -> PolicyTextResponse:
    """The text of a version, for instance of the one that a decision names."""
    return PolicyTextResponse(digest=digest, text=await service.get_version(principal.tenant_id, digest))


@router.post("/validate", responses=writing(), openapi_extra=_BODY)
async def validate_policy(
    text: DocumentText,
    service: Service,
    principal: CurrentPrincipal,  # noqa: ARG001 - only those with a key may have texts compiled
) -> PolicyValidationResponse:
    """Whether a policy is valid, with every problem of one that is not. Nothing is stored."""
    try:
        policy = await service.validate(text)
    except PolicyInvalid as error:
        fields = PolicyProblem.model_fields
        problems = [PolicyProblem(**{name: getattr(one, name) for name in fields}) for one in error.problems]
        return PolicyValidationResponse(valid=False, digest=None, problems=problems)
    return PolicyValidationResponse(valid=True, digest=policy.digest, problems=[])


@router.post("/decide", responses=writing())
async def decide_by_policy(body: DecideRequest, service: Service, principal: CurrentPrincipal) -> DecideResponse:
    """What your policy decides about these facts. Nothing comes of it."""
    decision = await service.decide(principal.tenant_id, body.kind, body.facts)
    return DecideResponse(
        **_decision(decision).model_dump(),
        policy_digest=decision.policy_digest,
        approval=decision.approval.model_dump(mode="json") if decision.approval else None,
    )


@router.post("/dry-run", responses=writing())
async def dry_run_policy(body: DryRunRequest, service: Service, principal: CurrentPrincipal) -> DryRunResponse:
    """What a policy would have decided about past tasks or steps, and where that differs from what holds now."""
    since, until = in_utc(body.since, "since"), in_utc(body.until, "until")
    check_span(since, until, "since", "until")
    return _tried(await service.dry_run(principal.tenant_id, body.policy, Window(body.of, since, until, body.limit)))


def _present(stored: StoredPolicy, response: Response) -> PolicyResponse:
    response.headers["ETag"] = f'"{stored.policy_digest}"'
    current = stored.current
    return PolicyResponse(
        digest=stored.policy_digest,
        source="stored" if current else "configured",
        text=stored.text,
        updated_at=current.updated_at if current else None,
        updated_by=current.updated_by if current else None,
    )


def _decision(decision: Decision) -> PolicyDecision:
    return PolicyDecision(effect=decision.effect, rule=decision.rule, reasons=list(decision.reasons))


def _tried(tried: DryRun) -> DryRunResponse:
    return DryRunResponse(
        digest=tried.digest,
        examined=len(tried.examined),
        oldest=min((one.created_at for one in tried.examined), default=None),
        before=dict(tried.before),
        after=dict(tried.after),
        changes=[
            DryRunChange(
                task_id=one.work.ids.get("task_id"),
                execution_id=one.work.ids.get("execution_id"),
                path=one.work.ids.get("path"),
                created_at=one.work.created_at,
                before=_decision(one.before),
                after=_decision(one.after),
            )
            for one in tried.changes
        ],
    )
