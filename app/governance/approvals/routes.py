"""The HTTP routes of approvals."""

import re
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BeforeValidator

from app.errors import Invalid, OrchestratorError
from app.governance.approvals import links as signed
from app.governance.approvals.links import ApprovalLinks, LinkWish
from app.governance.approvals.models import Answer, Approval, ApprovalStatus, SubjectKind
from app.governance.approvals.presentation import present_approval, present_item
from app.governance.approvals.repository import ApprovalQuery
from app.governance.approvals.schemas import (
    EXAMPLE_ID,
    ApprovalListResponse,
    ApprovalResponse,
    DecisionRequest,
    DelegationRequest,
    LinkRequest,
    LinkResponse,
)
from app.governance.approvals.service import Approvals
from app.governance.audit.recording import Record
from app.http.openapi import responses, writing
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.http.timestamps import check_span, in_utc
from app.identity.authentication import CurrentPrincipal
from app.identity.principals import Principal

router = APIRouter(prefix="/v1/approvals", tags=["Approvals"])
EmptyIsNone = BeforeValidator(lambda value: value or None)
ApprovalId = Annotated[str, Path(max_length=64, description="The approval's id.", examples=[EXAMPLE_ID])]
_ETAG = re.compile(r'"([1-9][0-9]{0,8})"')


class VersionRequired(OrchestratorError):
    code = "PRECONDITION_REQUIRED"
    status = 428
    title = "If-Match required"


async def _approvals(request: Request) -> Approvals:
    approvals: Approvals = request.app.state.approvals
    return approvals


async def _links(request: Request) -> ApprovalLinks:
    links: ApprovalLinks = request.app.state.approval_links
    return links


Service = Annotated[Approvals, Depends(_approvals)]
Links = Annotated[ApprovalLinks, Depends(_links)]


async def _version(
    if_match: Annotated[
        str | None,
        Header(description="The ETag of what you have seen; `*` decides whatever is there now.", max_length=64),
    ] = None,
) -> int | None:
    if if_match is None:
        raise VersionRequired("say what you have seen: If-Match with the ETag of the approval")
    if if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid('If-Match takes one ETag of an answer, as "3"', field="If-Match")
    return int(found[1])


Version = Annotated[int | None, Depends(_version)]


async def _query(
    approvals: Service,
    principal: CurrentPrincipal,
    status: Annotated[ApprovalStatus | None, EmptyIsNone, Query(description="Only those in this status.")] = None,
    kind: Annotated[SubjectKind | None, EmptyIsNone, Query(description="Only those about this.")] = None,
    mine: Annotated[bool, Query(description="Only those that are up to your key now.")] = False,
    task_id: Annotated[str | None, EmptyIsNone, Query(max_length=64, description="Only those of this task.")] = None,
    execution_id: Annotated[
        str | None, EmptyIsNone, Query(max_length=64, description="Only those of steps of this execution.")
    ] = None,
    created_after: Annotated[datetime | None, Query(description="Asked at or after this time.")] = None,
    created_before: Annotated[datetime | None, Query(description="Asked before this time.")] = None,
) -> ApprovalQuery:
    after, before = in_utc(created_after, "created_after"), in_utc(created_before, "created_before")
    check_span(after, before, "created_after", "created_before")
    voter = approvals.voter(principal) if mine else None
    return ApprovalQuery(status, kind, voter, after, before, task_id, execution_id)


@router.get("", responses=responses(422, 503))
async def list_approvals(
    approvals: Service,
    principal: CurrentPrincipal,
    query: Annotated[ApprovalQuery, Depends(_query)],
    params: PageQuery,
) -> ApprovalListResponse:
    """What people of your tenant are asked to approve, newest first; `mine` is the inbox of your key."""
    page = await approvals.list_page(principal, query, params)
    return ApprovalListResponse(
        items=[present_item(one, may_decide=approvals.may_decide(one, principal)) for one in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.document["created_at"], last.id)),
    )


@router.get("/{approval_id}", responses=responses(404, 503))
async def get_approval(
    approval_id: ApprovalId, approvals: Service, principal: CurrentPrincipal, response: Response
) -> ApprovalResponse:
    """One approval with what is proposed, its terms, and how it was decided so far; the ETag is its version."""
    return await _shown(approvals, await approvals.get(principal.tenant_id, approval_id), principal, response)


@router.post("/{approval_id}/decisions", responses=writing(404, 409, 412, 428))
async def decide_approval(
    approval_id: ApprovalId,
    body: DecisionRequest,
    approvals: Service,
    principal: CurrentPrincipal,
    version: Version,
    response: Response,
) -> ApprovalResponse:
    """Approve or reject what you have seen, as your If-Match says. One rejection decides, or as many approvals as the
    quorum; of those who decide at the same time one is first, and the others are told who."""
    answer = Answer(body.decision == "approve", body.comment, body.form, body.edited_input)
    decided = await approvals.decide(principal, approval_id, answer, version=version)
    return await _shown(approvals, decided, principal, response)


@router.post("/{approval_id}/delegate", responses=writing(404, 409, 412, 428))
async def delegate_approval(
    approval_id: ApprovalId,
    body: DelegationRequest,
    approvals: Service,
    principal: CurrentPrincipal,
    version: Version,
    response: Response,
) -> ApprovalResponse:
    """Give your vote to another key, which then decides on your behalf; it cannot give it on."""
    changed = await approvals.delegate(principal, approval_id, body.to, comment=body.comment, version=version)
    return await _shown(approvals, changed, principal, response)


@router.post("/{approval_id}/links", status_code=201, responses=writing(404, 409))
async def create_approval_link(
    approval_id: ApprovalId,
    body: LinkRequest,
    links: Links,
    principal: CurrentPrincipal,
    request: Request,
    record: Record,
) -> LinkResponse:
    """A signed link for a mail or a chat: it shows what is decided, and decides when that is confirmed."""
    wish = LinkWish(body.decision == "approve", body.approver, timedelta(seconds=body.expires_in))
    issued = await links.issue(principal, approval_id, wish)
    detail = {"decision": body.decision, "approver": body.approver or principal.key_id}
    await record("approval.link_issued", {"approval_id": approval_id}, detail)
    path, public = signed.PREFIX + issued.token, request.app.state.core.settings.public_url
    return LinkResponse(token=issued.token, path=path, url=public and f"{public}{path}", expires_at=issued.expires_at)


async def _shown(
    approvals: Approvals, approval: Approval, principal: Principal, response: Response
) -> ApprovalResponse:
    response.headers["ETag"] = f'"{approval.version}"'
    return present_approval(
        approval,
        proposed_input=await approvals.proposed_input(approval),
        may_decide=approvals.may_decide(approval, principal),
    )
