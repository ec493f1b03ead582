"""Policies over a store in memory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.agents.registry import Registry
from app.clock import Clock
from app.database.documents import Database, Documents
from app.governance.approvals.service import Approvals
from app.governance.audit.repository import AuditRepository
from app.governance.audit.trail import AuditTrail
from app.governance.policy.facts import Facts, time_facts
from app.governance.policy.gate import PolicyGate
from app.governance.policy.loading import load_policy
from app.governance.policy.models import FactKind
from app.governance.policy.repository import PolicyRepository
from app.governance.scoring.scorer import Scorer
from app.llm.usage import ModelRole
from app.model_names import ModelRef
from app.observability.redaction import Redactor
from app.tasks.evidence import Evaluations
from app.tasks.policy import PolicyEnforcer
from tests.approval_builders import Office, an_evidence_store
from tests.job_builders import FakeClock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def facts(kind: FactKind = FactKind.TASK, values: dict[str, Any] | None = None, /) -> Facts:
    """Those of a usual subject, with some of its values replaced; None leaves one out."""
    usual = {
        "agent.name": "writer",
        "tenant.id": "acme",
        "caller.key_id": "k1",
        "spend.usd": 0.0,
        "spend.tokens": 0,
        "spend.model_calls": 0,
        **_USUAL[kind],
        **time_facts(NOON),
        **(values or {}),
    }
    return Facts.of(kind, {name: value for name, value in usual.items() if value is not None})


def a_policy_repository(database: Database, *, clock: Clock) -> PolicyRepository:
    policies, versions = Documents(database["policies"]), Documents(database["policy_versions"])
    return PolicyRepository(policies, versions, clock=clock)


def an_audit_trail(database: Database, *, clock: Clock) -> AuditTrail:
    return AuditTrail(AuditRepository(Documents(database["audit"])), Redactor([]), clock=clock, on_lost=lambda: None)


def a_policy_enforcer(
    database: Database,
    *,
    clock: FakeClock,
    folder: Path = Path("unused"),
    policy: str | None = None,
    approvals: Approvals | None = None,
) -> PolicyEnforcer:
    """Of a deployment that configures ``policy``."""
    gate = PolicyGate(a_policy_repository(database, clock=clock), load_policy(policy) if policy else None)
    asked = approvals or Office(database, clock, folder).approvals
    evaluations = Evaluations(an_evidence_store(folder))
    return PolicyEnforcer(gate, asked, evaluations, an_audit_trail(database, clock=clock), a_scorer(), clock=clock)


def a_scorer(registry: Registry | None = None) -> Scorer:
    """Of a deployment without tools, whose models cost a dollar for a million tokens."""
    chains = dict.fromkeys(ModelRole, (ModelRef("openai", "gpt-4o-mini"),))
    return Scorer(registry or Registry(), {}, chains, lambda _, usage: usage.total / 1_000_000)


_USUAL: dict[FactKind, dict[str, Any]] = {
    FactKind.TASK: {
        "task.id": "t1",
        "task.text": "Write a short post about the sea.",
        "task.text_length": 33,
        "task.priority": 5,
        "task.attempt": 1,
        "task.session_id": "s1",
        "task.requested_agent": "",
        "task.inputs": [],
        "task.metadata": {},
        "scores.available": False,
    },
    FactKind.STEP: {
        "step.execution_id": "e1",
        "step.workflow": "weekly",
        "step.path": "review[2].fix",
        "step.kind": "command",
        "step.attempt": 1,
        "step.input": {"command": ["ls"]},
        "scores.available": False,
    },
    FactKind.TOOL: {
        "tool.name": "mcp.files.write",
        "tool.side_effect": "external",
        "tool.arguments": {"path": "/data/notes.txt"},
        "tool.argument_bytes": 26,
        "tool.used_by": "task",
    },
}
