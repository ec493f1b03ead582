"""Work that a policy is asked about before it begins: denied, allowed, or held until people have approved it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.clock import Clock
from app.errors import ExecutionError
from app.governance.approvals.models import Approval, ApprovalStatus, ApprovalSubject
from app.governance.approvals.service import Approvals
from app.governance.audit.trail import AuditTrail
from app.governance.policy.deciding import Decision
from app.governance.policy.facts import Facts, time_facts
from app.governance.policy.gate import PolicyGate
from app.governance.policy.models import Effect, FactKind, PolicyDenied
from app.governance.policy.policy import Policy
from app.governance.scoring.models import Work
from app.governance.scoring.scorer import Scorer
from app.jobs.models import Reason
from app.jobs.runner import Attempt
from app.tasks.approval import check_approved
from app.tasks.evidence import Evaluations, is_kept, refer_to_approval
from app.tasks.models import POLICY, SCORES


class ApprovalNeeded(ExecutionError):
    """The attempt ends here, and the work goes on when people have approved it; ``note`` is kept with it meanwhile."""

    code = "APPROVAL_NEEDED"
    title = "Approval needed"

    def __init__(self, approval: Approval, note: Mapping[str, Any]) -> None:
        super().__init__("the policy wants this to be approved first")
        self.approval = approval
        self.note = note


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about. ``values`` are facts by name; ``subject`` is what people would be asked to approve.

    ``work`` is what is scored before it begins, where the policy wants scores.
    """

    kind: FactKind
    tenant_id: str
    values: Mapping[str, Any]
    subject: ApprovalSubject
    requested_by: str
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """``approval`` is what people said, where they were asked; ``note`` what is kept with the work."""

    note: Mapping[str, Any]
    approval: Approval | None = None

    @property
    def edited_input(self) -> str | None:
        """What approvers made of the proposed input; None when they left it as it was."""
        return self.approval.input if self.approval is not None and self.approval.is_edited else None


@dataclass(frozen=True, slots=True)
class _Decided:
    """What the policy says of these facts; ``approval`` is what people were asked, or are asked now."""

    facts: Facts
    decision: Decision
    note: Mapping[str, Any]
    approval: Approval | None = None

    @property
    def is_pending(self) -> bool:
        return self.approval is not None and self.approval.status is ApprovalStatus.PENDING


class PolicyEnforcer:
    """What cannot be decided, or leaves no evidence, does not go on: a store that does not answer is an error of the
    attempt.
    """

    def __init__(
        self,
        gate: PolicyGate,
        approvals: Approvals,
        evaluations: Evaluations,
        audit: AuditTrail,
        scorer: Scorer,
        *,
        clock: Clock,
    ) -> None:
        self._gate = gate
        self._scorer = scorer
        self._approvals = approvals
        self._evaluations = evaluations
        self._audit = audit
        self._clock = clock

    async def is_asked(self, tenant_id: str) -> bool:
        """Whether there is a policy at all."""
        return await self._gate.governs(tenant_id)

    async def permit(self, attempt: Attempt, question: Question) -> Passed:
        """As `check`, before the attempt's work begins; its scores and what was decided are kept with it in any case.

        Raises `AgentNotFound`, too, for work that cannot be scored.
        """
        question = await self._scored(attempt, question)
        decided = await self._decided(question)
        if not is_kept(attempt, question.kind, decided.note):
            await self._keep(attempt, question, decided, attempt.evidence.fields.get(SCORES))
        note_decision(attempt, decided.note)
        return await self._passed(attempt, question, decided)

    async def _scored(self, attempt: Attempt, question: Question) -> Question:
        policy = await self._gate.policy_of(question.tenant_id)
        if question.work is None or not isinstance(policy, Policy) or not policy.is_scored:
            return question
        scores = await asyncio.to_thread(self._scorer.score, question.work)
        attempt.evidence.fields[SCORES] = scores.as_document()
        return replace(question, values={**question.values, **scores.as_facts()})

    async def check(self, attempt: Attempt, question: Question) -> Passed:
        """Raises `PolicyDenied`, `ApprovalNeeded`, `ApprovalRejected` and `ApprovalExpired`.

        What is simply allowed, or was decided by people, leaves no evaluation.
        """
        decided = await self._decided(question)
        if decided.decision.effect is Effect.DENY or decided.is_pending:
            await self._keep(attempt, question, decided, None)
        return await self._passed(attempt, question, decided)

    async def _decided(self, question: Question) -> _Decided:
        now = self._clock()
        facts = Facts.of(question.kind, {**question.values, **time_facts(now)})
        decision = await self._gate.check(question.tenant_id, facts)
        note = noted(decision, now)
        if decision.approval is None:
            return _Decided(facts, decision, note)
        # Another rule is another question, so that what was approved by few is not taken for what needs many.
        key = f"{question.subject.key}:{decision.rule or 'default'}"
        policy = {"rule": decision.rule, "digest": decision.policy_digest}
        subject = replace(question.subject, key=key, reason=decision.told, policy=policy)
        approval = await self._approvals.request(
            question.tenant_id, subject, decision.approval, requested_by=question.requested_by
        )
        return _Decided(facts, decision, {**note, "approval_id": approval.id}, approval)

    async def _keep(
        self, attempt: Attempt, question: Question, decided: _Decided, scores: Mapping[str, Any] | None
    ) -> None:
        await self._evaluations.keep(attempt, question.subject.ids, decided.facts, decided.note, scores)

    async def _passed(self, attempt: Attempt, question: Question, decided: _Decided) -> Passed:
        decision, note = decided.decision, decided.note
        match decision.effect:
            case Effect.ALLOW:
                return Passed(note)
            case Effect.DENY:
                await self._record(question, decision)
                raise PolicyDenied(f"denied by the policy: {decision.told}", policy=note)
            case Effect.REQUIRE_APPROVAL:
                approval = decided.approval
        if approval is None:
            raise PolicyDenied("denied by the policy: it wants an approval and says not on which terms", policy=note)
        if decided.is_pending:
            await self._record(question, decision)
            raise ApprovalNeeded(approval, note)
        refer_to_approval(attempt, approval)
        check_approved(approval)
        return Passed(note, approval)

    async def _record(self, question: Question, decision: Decision) -> None:
        await self._audit.record(
            question.tenant_id,
            "policy.decision",
            question.requested_by,
            question.subject.ids,
            {"effect": decision.effect.value, "rule": decision.rule, "digest": decision.policy_digest},
        )


def noted(decision: Decision, now: datetime) -> dict[str, Any]:
    """As it is kept with tasks and steps."""
    return {
        "effect": decision.effect.value,
        "rule": decision.rule,
        "reasons": list(decision.reasons),
        "digest": decision.policy_digest,
        "at": now,
        "approval_id": None,
    }


def note_decision(attempt: Attempt, note: Mapping[str, Any]) -> None:
    fields = attempt.evidence.fields
    fields[POLICY] = {**(fields.get(POLICY) or {}), **note}


def series_of(document: Mapping[str, Any]) -> int:
    """How often the work was begun anew on request: an answer to an earlier series says nothing about this one."""
    return sum(entry["reason"] == Reason.RETRIED for entry in document["history"])
