"""Legal holds: what can be held, and what of it would expire by itself."""

from collections.abc import Mapping, Sequence

from app.artifacts import repository as uploads
from app.artifacts.models import is_digest
from app.artifacts.store import ArtifactNotFound
from app.bootstrap.core import Core
from app.effects import ledger
from app.governance.legal_holds.keeping import HoldKeeper, Keep, by_field
from app.governance.legal_holds.models import HeldKind
from app.governance.legal_holds.repository import HoldRepository, Subjects
from app.governance.legal_holds.service import LegalHolds
from app.ids import is_id
from app.logs import repository as logs
from app.sessions import messages
from app.sessions.messages import message_ids
from app.tasks.models import TaskNotFound
from app.workflows.executions.keeping import keep_of_steps
from app.workflows.executions.models import SIGNALS, ExecutionNotFound


def build_legal_holds(core: Core) -> LegalHolds:
    repositories = _build_repositories(core)
    keeper = _build_keeper(core, repositories)
    return LegalHolds(repositories, keeper, around=core.intents.around, clock=core.clock)


def build_hold_keeper(core: Core) -> HoldKeeper:
    return _build_keeper(core, _build_repositories(core))


def _build_repositories(core: Core) -> dict[HeldKind, HoldRepository]:
    subjects = (
        Subjects(HeldKind.TASK, core.tasks, TaskNotFound, is_id),
        Subjects(HeldKind.EXECUTION, core.executions.documents, ExecutionNotFound, is_id),
        Subjects(HeldKind.ARTIFACT, core.documents(uploads.COLLECTION), ArtifactNotFound, is_digest, id_field="sha256"),
    )
    return {one.kind: HoldRepository(one) for one in subjects}


def _build_keeper(core: Core, repositories: Mapping[HeldKind, HoldRepository]) -> HoldKeeper:
    effects, lines = by_field(core.documents(ledger.COLLECTION), "task_id"), core.documents(logs.COLLECTION)
    keeps: dict[HeldKind, Sequence[Keep]] = {
        HeldKind.TASK: (
            by_field(core.documents(messages.COLLECTION), "_id", names_of=message_ids),
            effects,
            by_field(lines, "task_id"),
        ),
        HeldKind.EXECUTION: (
            keep_of_steps(core.steps.documents, effects),
            by_field(core.documents(SIGNALS), "execution_id"),
            by_field(lines, "execution_id"),
        ),
    }
    return HoldKeeper(repositories, keeps, clock=core.clock)
