"""The use cases of approvals: ask, read, list, decide, delegate, and let the time pass."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from app.clock import Clock
from app.errors import Conflict, Invalid, NotPermitted
from app.governance.approvals import rules, transitions
from app.governance.approvals.inputs import ProposedInputs
from app.governance.approvals.models import (
    ANYBODY,
    Answer,
    Approval,
    ApprovalNotFound,
    ApprovalStatus,
    ApprovalSubject,
    SubjectKind,
    approval_id,
)
from app.governance.approvals.records import ApprovalRecords
from app.governance.approvals.repository import ApprovalQuery, ApprovalRepository, Voter
from app.governance.approvals.settling import Settlement
from app.governance.approvals.terms import ApprovalTerms
from app.governance.approvals.transitions import Change, Edit, Vote
from app.http.pagination import Page, PageParams
from app.identity.permissions import Action, may
from app.identity.principals import Principal
from app.ids import is_id

# Each round is lost only to somebody else's decision in between.
_ROUNDS = 10
MOST_DELEGATIONS = 100
FindKey = Callable[[str, str], Principal | None]


class Approvals:
    def __init__(
        self,
        repository: ApprovalRepository,
        inputs: ProposedInputs,
        records: ApprovalRecords,
        settlement: Settlement,
        *,
        groups: rules.Groups,
        find_key: FindKey,
        clock: Clock,
    ) -> None:
        """``find_key`` knows the keys of a tenant by their ids."""
        self._repository = repository
        self._inputs = inputs
        self._records = records
        self._settlement = settlement
        self._groups = groups
        self._find_key = find_key
        self._clock = clock

    async def request(
        self, tenant_id: str, subject: ApprovalSubject, terms: ApprovalTerms, *, requested_by: str
    ) -> Approval:
        """Ask for it; who asks the same again gets the first question as it is now, decided or not.

        One that was cancelled is asked anew: its work had been given up, and was begun again.
        """
        asked = approval_id(tenant_id, subject.kind, subject.key)
        stored = None if subject.input is None else await self._inputs.put(tenant_id, subject.ids, subject.input)
        document = transitions.requested(
            tenant_id, subject, terms, requested_by=requested_by, stored_input=stored, now=self._clock()
        )
        if await self._repository.insert(document):
            await self._settlement.follow(Approval.read(document))
        approval = await self.get(tenant_id, asked)
        if approval.status is not ApprovalStatus.CANCELLED:
            return approval
        return await self._try(approval, transitions.asked_again(approval, document, self._clock()))

    async def find_by_subject(self, tenant_id: str, kind: SubjectKind, key: str) -> Approval | None:
        return await self._find(tenant_id, approval_id(tenant_id, kind, key))

    async def get(self, tenant_id: str, wanted: str) -> Approval:
        """With its input. Raises `ApprovalNotFound`."""
        found = await self._find(tenant_id, wanted) if is_id(wanted) else None
        if found is None:
            raise ApprovalNotFound(f"no approval {wanted[:64]!r}", approval_id=wanted[:64])
        return found

    async def proposed_input(self, approval: Approval) -> str | None:
        """As it was asked, before any edit."""
        stored = approval.document["subject"]["input"]
        return await self._inputs.get(approval.tenant_id, approval.ids, stored)

    async def list_page(self, principal: Principal, query: ApprovalQuery, params: PageParams) -> Page[Approval]:
        found, total = await asyncio.gather(
            self._repository.list_page(
                principal.tenant_id, query, limit=params.page_size + 1, skip=params.skip, after=params.after
            ),
            self._repository.count(principal.tenant_id, query),
        )
        return Page.of(found, params, total=total)

    def voter(self, principal: Principal) -> Voter:
        if not may(principal.role, Action.WRITE):
            return Voter(principal.key_id, frozenset())
        return Voter(principal.key_id, rules.names_of(principal, self._groups) | {ANYBODY})

    def check_may_decide(self, approval: Approval, principal: Principal) -> str | None:
        """On behalf of which key, if not its own. Raises `NotPermitted` and `AlreadyVoted`."""

        def find_key(key_id: str) -> Principal | None:
            return self._find_key(approval.tenant_id, key_id)

        return rules.check_may_decide(approval, principal, self._groups, find_key)

    def may_decide(self, approval: Approval, principal: Principal) -> bool:
        try:
            rules.check_pending(approval)
            self.check_may_decide(approval, principal)
        except (Conflict, NotPermitted):
            return False
        return True

    async def decide(
        self, principal: Principal, wanted: str, answer: Answer, *, version: int | None = None
    ) -> Approval:
        """The approval after this decision; with a ``version`` only if that is still the current one.

        Raises `ApprovalNotFound`, `ApprovalDecided`, `ApprovalChanged`, `AlreadyVoted`, `NotPermitted`, and `Invalid`
        for a form or an edit that does not fit.
        """
        for _ in range(_ROUNDS):
            approval = await self._pending(principal.tenant_id, wanted)
            rules.check_version(approval, version)
            rules.check_revision(approval, answer)
            vote = await self._vote(approval, principal, answer)
            change = await self._recorded(approval, transitions.voted(approval, vote, self._clock()))
            if decided := await self._repository.change(approval, change, before=self._clock()):
                return await self._settled(decided)
        raise Conflict("others decide at the same time; try again")

    async def delegate(
        self, principal: Principal, wanted: str, to: str, *, comment: str = "", version: int | None = None
    ) -> Approval:
        """Give this key's vote to another key of the tenant."""
        for _ in range(_ROUNDS):
            approval = await self._pending(principal.tenant_id, wanted)
            rules.check_version(approval, version)
            self._check_delegation(approval, principal, to)
            change = transitions.delegated(principal.key_id, to, comment, self._clock())
            if changed := await self._repository.change(approval, change, before=self._clock()):
                return await self._settled(changed)
        raise Conflict("others decide at the same time; try again")

    async def expire(self, approval: Approval) -> Approval:
        """As it is when its time is over, of which the caller is sure: by its terms, if nobody was faster."""
        for _ in range(_ROUNDS):
            if approval.status is not ApprovalStatus.PENDING:
                return approval
            change = await self._recorded(approval, transitions.expired(approval, self._clock()))
            if changed := await self._repository.change(approval, change):
                return await self._settled(changed)
            approval = await self.get(approval.tenant_id, approval.id)
        raise Conflict("others decide at the same time; try again")

    async def attend(self, approval: Approval) -> None:
        """What time brings: it expires, goes to further approvers, is told again, or nothing waits for it any more."""
        is_pending = approval.status is ApprovalStatus.PENDING
        if not is_pending or (await self._now(approval)).version == approval.version:
            await self._settlement.catch_up(approval)

    async def check(self, approval: Approval) -> None:
        """One that nothing waits for any more is cancelled."""
        await self._now(approval)

    async def _find(self, tenant_id: str, wanted: str) -> Approval | None:
        found = await self._repository.find(tenant_id, wanted)
        return None if found is None else await self._with_input(found)

    async def _with_input(self, approval: Approval) -> Approval:
        edit = approval.document["edit"]
        stored = edit["input"] if edit else approval.document["subject"]["input"]
        text = await self._inputs.get(approval.tenant_id, approval.ids, stored)
        return approval if text is None else approval.with_input(text)

    async def _pending(self, tenant_id: str, wanted: str) -> Approval:
        """As it is now. Raises `ApprovalDecided`."""
        approval = await self.get(tenant_id, wanted)
        rules.check_pending(approval)
        approval = await self._now(approval)
        rules.check_pending(approval)
        return approval

    async def _now(self, approval: Approval) -> Approval:
        """A pending one with what time has brought."""
        now = self._clock()
        if _is_due(approval.expires_at, now):
            return await self.expire(approval)
        if _is_due(approval.document["escalates_at"], now):
            return await self._try(approval, transitions.escalated(approval, now))
        if not await self._settlement.owner_of(approval).is_waiting(approval):
            return await self._try(approval, transitions.cancelled(now))
        return approval

    async def _vote(self, approval: Approval, principal: Principal, answer: Answer) -> Vote:
        on_behalf_of = self.check_may_decide(approval, principal)
        rules.check_room(approval)
        rules.check_edit(approval, answer)
        form = rules.filled_form(approval, answer)
        await self._settlement.owner_of(approval).check(approval, answer)
        return Vote(answer, principal, on_behalf_of, form, await self._edit(approval, answer))

    async def _edit(self, approval: Approval, answer: Answer) -> Edit | None:
        edited = answer.edited_input
        if edited is None or edited == approval.input:
            return None
        stored = await self._inputs.put(approval.tenant_id, approval.ids, edited)
        return Edit(stored, rules.diff_of(await self.proposed_input(approval) or "", edited))

    async def _recorded(self, approval: Approval, change: Change) -> Change:
        if change["$set"].get("outcome") is None:
            return change
        return await self._records.with_record(approval, change, await self.proposed_input(approval))

    def _check_delegation(self, approval: Approval, principal: Principal, to: str) -> None:
        if not approval.terms.delegation:
            raise NotPermitted("its terms let nobody give the vote away")
        if self.check_may_decide(approval, principal) is not None:
            raise NotPermitted("a vote that was given to this key cannot be given on")
        if to == principal.key_id or self._find_key(approval.tenant_id, to) is None:
            raise Invalid("name another key of this tenant by its id, as `by` and `created_by` show it", field="to")
        rules.check_is_not_requester(approval, to)
        if len(approval.document["delegations"]) >= MOST_DELEGATIONS:
            raise Conflict(f"{MOST_DELEGATIONS} votes were given away already")

    async def _try(self, approval: Approval, change: Change) -> Approval:
        """As it is after this change, or after that of somebody who was faster."""
        changed = await self._repository.change(approval, change)
        return await self._settled(changed) if changed else await self.get(approval.tenant_id, approval.id)

    async def _settled(self, approval: Approval) -> Approval:
        await self._settlement.follow(approval)
        return await self._with_input(approval)


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
