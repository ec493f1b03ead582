"""Links for mails and chats: whoever opens one sees what is decided, and decides by confirming it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.errors import Invalid, NotPermitted
from app.governance.approvals import rules
from app.governance.approvals.models import Answer, Approval
from app.governance.approvals.service import Approvals
from app.identity.link_tokens import ApprovalLink, LinkTokens
from app.identity.principals import Principal
from app.settings import Role

PREFIX = "/v1/approvals/links/"


@dataclass(frozen=True, slots=True)
class LinkWish:
    """``approver`` is the key whose answer the link gives; None: of whoever wishes it."""

    approved: bool
    approver: str | None
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Issued:
    token: str
    expires_at: datetime


class ApprovalLinks:
    def __init__(
        self,
        approvals: Approvals,
        tokens: LinkTokens,
        *,
        find_key: Callable[[str, str], Principal | None],
        clock: Clock,
    ) -> None:
        self._approvals = approvals
        self._tokens = tokens
        self._find_key = find_key
        self._clock = clock

    async def issue(self, principal: Principal, approval_id: str, wish: LinkWish) -> Issued:
        """Raises `NotPermitted`, `ApprovalDecided`, and `Invalid` where a link would not do."""
        approval = await self._approvals.get(principal.tenant_id, approval_id)
        rules.check_pending(approval)
        approver = self._approver(approval, principal, wish.approver)
        self._approvals.check_may_decide(approval, approver)
        expires_at = self._clock() + wish.lifetime
        if approval.expires_at is not None:
            expires_at = min(expires_at, approval.expires_at)
        link = ApprovalLink(
            approval.tenant_id,
            approval.id,
            approval.revision,
            wish.approved,
            approver.key_id,
            principal.key_id,
            expires_at,
        )
        return Issued(self._tokens.issue(link), expires_at)

    async def show(self, link: ApprovalLink) -> Approval:
        return await self._approvals.get(link.tenant_id, link.approval_id)

    async def use(self, principal: Principal, link: ApprovalLink, form: Mapping[str, Any], comment: str) -> Approval:
        """Give the link's answer; raises what `Approvals.decide` does."""
        answer = Answer(link.approved, comment, form, via=link.issued_by, revision=link.revision)
        return await self._approvals.decide(principal, link.approval_id, answer)

    def _approver(self, approval: Approval, principal: Principal, wanted: str | None) -> Principal:
        if wanted is None or wanted == principal.key_id:
            return principal
        if principal.role is not Role.ADMIN:
            raise NotPermitted("only an admin may make links for others; leave `approver` out for one of your own")
        # Who asks could otherwise answer in another's name.
        rules.check_is_not_requester(approval, principal.key_id)
        found = self._find_key(approval.tenant_id, wanted)
        if found is None:
            raise Invalid("name a key of this tenant by its id, as `by` and `created_by` show it", field="approver")
        return found
