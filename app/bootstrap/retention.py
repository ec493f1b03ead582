"""How long tasks are kept, and what is deleted with them."""

from datetime import timedelta

from app.bootstrap.core import Core
from app.checkpoints.models import COLLECTION as CHECKPOINTS
from app.checkpoints.retention import delete_checkpoints_of
from app.effects import ledger as effects
from app.jobs.models import Status
from app.jobs.retention import DeleteBelongings, Retention, Rule, by_task_id
from app.replay.recordings import delete_recordings_of
from app.settings import Settings
from app.tasks.artifacts import delete_artifacts_of


def build_retention(core: Core) -> Retention:
    return Retention(core.tasks, belongings_of(core), rules_of(core.settings), clock=core.clock)


def belongings_of(core: Core) -> list[DeleteBelongings]:
    """Whatever is stored about a task outside of its own document is deleted here. Totals are kept."""
    return [
        lambda jobs: core.messages.delete_of(job.id for job in jobs),
        by_task_id(core.documents(effects.COLLECTION)),
        delete_checkpoints_of(core.documents(CHECKPOINTS), core.artifacts),
        delete_artifacts_of(core.tasks, core.artifacts),
        delete_recordings_of(core.artifacts),
    ]


def rules_of(settings: Settings) -> list[Rule]:
    days_by_statuses = {
        frozenset({Status.COMPLETED, Status.CANCELLED}): settings.task_retention_days,
        frozenset({Status.FAILED}): settings.dead_letter_retention_days,
    }
    return [Rule(statuses, timedelta(days=days)) for statuses, days in days_by_statuses.items() if days > 0]
