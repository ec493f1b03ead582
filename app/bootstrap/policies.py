"""The policies as every process sees them."""

from app.bootstrap.core import Core
from app.bootstrap.evidence import build_evidence
from app.bootstrap.scoring import build_scorer
from app.bootstrap.workflows import build_reader
from app.governance.approvals.service import Approvals
from app.governance.policy.configured import configured_policy
from app.governance.policy.gate import PolicyGate
from app.governance.policy.repository import POLICIES, VERSIONS, PolicyRepository
from app.governance.policy.service import History, PolicyService, Tried
from app.tasks.evidence import Evaluations
from app.tasks.policy import PolicyEnforcer
from app.tasks.policy_facts import TaskHistory
from app.workflows.executions.past import StepHistory
from app.workflows.executions.plans import Plans
from app.workflows.executions.values import ValueStore


def build_policy_service(core: Core) -> PolicyService:
    scorer = build_scorer(core.settings, core.registry)
    values, plans = ValueStore(core.artifacts), Plans(build_reader(core))
    steps = StepHistory(core.executions.documents, core.steps.documents, values, plans, core.registry, scorer)
    past: dict[Tried, History] = {Tried.TASKS: TaskHistory(core.tasks, scorer), Tried.STEPS: steps}
    return PolicyService(_build_repository(core), build_gate(core), past, around=core.intents.around)


def build_policy_enforcer(core: Core, approvals: Approvals) -> PolicyEnforcer:
    """One per worker: what it has read of policies is read for all its work."""
    scorer = build_scorer(core.settings, core.registry)
    evaluations = Evaluations(build_evidence(core))
    return PolicyEnforcer(build_gate(core), approvals, evaluations, core.audit, scorer, clock=core.clock)


def build_gate(core: Core) -> PolicyGate:
    return PolicyGate(_build_repository(core), configured_policy(core.settings))


def _build_repository(core: Core) -> PolicyRepository:
    return PolicyRepository(core.documents(POLICIES), core.documents(VERSIONS), clock=core.clock)
