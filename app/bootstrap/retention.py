"""How long tasks and executions are kept, and what is deleted with them."""

from datetime import timedelta

from app.bootstrap.core import Core
from app.checkpoints.models import COLLECTION as CHECKPOINTS
from app.checkpoints.retention import delete_checkpoints_of
from app.effects import ledger as effects
from app.governance.approvals.repository import COLLECTION as APPROVALS
from app.governance.approvals.retention import delete_approvals_of
from app.governance.audit.deletions import record_deletions
from app.jobs.models import Status
from app.jobs.retention import DeleteBelongings, Retention, Rule, by_task_id
from app.settings import Settings
from app.tasks.artifacts import delete_artifacts_of
from app.workflows.executions.models import SIGNALS
from app.workflows.executions.retention import (
    EXECUTIONS_AT_ONCE,
    ExecutionRetention,
    by_execution_id,
    delete_steps_of,
)


def build_retention(core: Core) -> Retention:
    return Retention(core.tasks, belongings_of(core), rules_of(core.settings), clock=core.clock)


def build_execution_retention(core: Core) -> ExecutionRetention:
    executions, steps, rules = core.executions.documents, core.steps.documents, rules_of(core.settings)
    retention = Retention(
        executions, _belongings_of_executions(core), rules, clock=core.clock, batch_size=EXECUTIONS_AT_ONCE
    )
    return ExecutionRetention(executions, steps, retention, rules, clock=core.clock)


def belongings_of(core: Core) -> list[DeleteBelongings]:
    """Whatever is stored about a task outside of its own document is deleted here. Totals are kept."""
    return [
        lambda jobs: core.messages.delete_of(job.id for job in jobs),
        by_task_id(core.documents(effects.COLLECTION)),
        delete_checkpoints_of(core.documents(CHECKPOINTS)),
        delete_approvals_of(core.documents(APPROVALS), "task_id"),
        delete_artifacts_of(core.artifacts),
        record_deletions(core.audit, "tasks"),
    ]


def _belongings_of_executions(core: Core) -> list[DeleteBelongings]:
    of_steps = [
        by_task_id(core.documents(effects.COLLECTION)),
        delete_checkpoints_of(core.documents(CHECKPOINTS)),
    ]
    return [
        delete_steps_of(core.steps.documents, of_steps),
        by_execution_id(core.documents(SIGNALS)),
        delete_approvals_of(core.documents(APPROVALS), "execution_id"),
        delete_artifacts_of(core.artifacts),
        record_deletions(core.audit, "executions"),
    ]


def rules_of(settings: Settings) -> list[Rule]:
    days_by_statuses = {
        frozenset({Status.COMPLETED, Status.CANCELLED}): settings.task_retention_days,
        frozenset({Status.FAILED}): settings.dead_letter_retention_days,
    }
    return [Rule(statuses, timedelta(days=days)) for statuses, days in days_by_statuses.items() if days > 0]
