"""The policies as every process sees them."""

from app.bootstrap.core import Core
from app.bootstrap.scoring import build_scorer
from app.governance.approvals.service import Approvals
from app.governance.policy.configured import configured_policy
from app.governance.policy.gate import PolicyGate
from app.governance.policy.repository import POLICIES, VERSIONS, PolicyRepository
from app.governance.policy.service import PolicyService
from app.tasks.policy import PolicyEnforcer
from app.tasks.policy_facts import TaskHistory


def build_policy_service(core: Core) -> PolicyService:
    history = TaskHistory(core.tasks, build_scorer(core.settings, core.registry))
    return PolicyService(_build_repository(core), _build_gate(core), history, record=core.audit.record)


def build_policy_enforcer(core: Core, approvals: Approvals) -> PolicyEnforcer:
    """One per worker: what it has read of policies is read for all its work."""
    scorer = build_scorer(core.settings, core.registry)
    return PolicyEnforcer(_build_gate(core), approvals, core.audit, scorer, clock=core.clock)


def _build_gate(core: Core) -> PolicyGate:
    return PolicyGate(_build_repository(core), configured_policy(core.settings))


def _build_repository(core: Core) -> PolicyRepository:
    return PolicyRepository(core.documents(POLICIES), core.documents(VERSIONS), clock=core.clock)
