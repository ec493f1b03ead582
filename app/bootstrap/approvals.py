"""Approvals as every process needs them: workers ask and let the time pass, the API takes decisions."""

from dataclasses import dataclass

from app.bootstrap.core import Core
from app.bootstrap.evidence import build_evidence
from app.bootstrap.workflows import build_reader
from app.governance.approvals import repository
from app.governance.approvals.inputs import ProposedInputs
from app.governance.approvals.links import ApprovalLinks
from app.governance.approvals.models import Owner
from app.governance.approvals.records import ApprovalRecords
from app.governance.approvals.repository import ApprovalRepository
from app.governance.approvals.service import Approvals
from app.governance.approvals.settling import Settlement
from app.governance.approvals.upkeep import ApprovalUpkeep
from app.identity.keys import KeyRing
from app.identity.link_tokens import LinkTokens
from app.tasks.approval import TaskOwner
from app.workflows.executions.approvals import StepOwner
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.plans import Plans
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.values import ValueStore
from app.workflows.executions.waking import Waker


@dataclass(frozen=True, slots=True)
class Approving:
    approvals: Approvals
    upkeep: ApprovalUpkeep


def build_approvals(core: Core) -> Approvals:
    return build_approving(core).approvals


def build_approving(core: Core) -> Approving:
    approvals = ApprovalRepository(core.documents(repository.COLLECTION))
    owners: dict[str, Owner] = {"step_id": _build_step_owner(core), "task_id": _build_task_owner(core)}
    service = Approvals(
        approvals,
        ProposedInputs(core.artifacts),
        ApprovalRecords(build_evidence(core)),
        Settlement(approvals, owners, core.audit, clock=core.clock),
        groups=core.settings.approver_groups,
        find_key=_build_keyring(core).find,
        clock=core.clock,
    )
    return Approving(service, ApprovalUpkeep(approvals, service, clock=core.clock))


def build_links(core: Core, approvals: Approvals, tokens: LinkTokens) -> ApprovalLinks:
    return ApprovalLinks(approvals, tokens, find_key=_build_keyring(core).find, clock=core.clock)


def _build_keyring(core: Core) -> KeyRing:
    return KeyRing(core.settings.api_keys, default_tenant=core.settings.default_tenant)


def _build_step_owner(core: Core) -> StepOwner:
    values = ValueStore(core.artifacts)
    return StepOwner(
        ExecutionRepository(core.executions.documents, core.steps.documents),
        Conclusions(core.steps.store, values, Plans(build_reader(core))),
        Waker(core.executions.store, core.executions.bell.ring, core.signals),
        core.steps.store,
        core.steps.bell.ring,
        core.signals,
    )


def _build_task_owner(core: Core) -> TaskOwner:
    return TaskOwner(
        core.store,
        core.repository,
        core.task_jobs.bell.ring,
        core.signals,
        max_task_bytes=core.settings.max_task_bytes,
    )
