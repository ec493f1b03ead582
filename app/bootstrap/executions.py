"""Executions of workflows as the API serves them."""

from app.bootstrap.admission import build_admission
from app.bootstrap.core import Core
from app.database.idempotency import Reservations
from app.governance.approvals.service import Approvals
from app.http.idempotency import Idempotency
from app.identity.event_tokens import EventTokens
from app.workflows.definitions.reading import DefinitionReader
from app.workflows.definitions.repository import VERSIONS, WORKFLOWS, DefinitionRepository
from app.workflows.executions.answers import Answers
from app.workflows.executions.api import ExecutionApi
from app.workflows.executions.artifacts import ExecutionArtifacts
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.drawings import Drawings
from app.workflows.executions.models import SIGNALS
from app.workflows.executions.plans import Plans
from app.workflows.executions.recordings import StepRecordings
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.service import ExecutionService
from app.workflows.executions.signals import SignalBox
from app.workflows.executions.steering import Steering
from app.workflows.executions.timeline import Timeline
from app.workflows.executions.values import ValueStore
from app.workflows.executions.waking import Waker


def build_execution_api(core: Core, tokens: EventTokens, approvals: Approvals) -> ExecutionApi:
    definitions = DefinitionRepository(core.documents(WORKFLOWS), core.documents(VERSIONS), clock=core.clock)
    plans, values = Plans(DefinitionReader(definitions, core.registry)), ValueStore(core.artifacts)
    repository = ExecutionRepository(core.executions.documents, core.steps.documents)
    conclusions = Conclusions(core.steps.store, values, plans)
    waker = Waker(core.executions.store, core.executions.bell.ring, core.signals)
    return ExecutionApi(
        executions=_build_service(core, repository, definitions, plans),
        steering=Steering(
            core.executions,
            repository,
            SignalBox(core.documents(SIGNALS), repository, conclusions, values, clock=core.clock),
            waker,
            idempotency=_idempotency(core),
            signals=core.signals,
            clock=core.clock,
        ),
        answers=Answers(repository, approvals),
        repository=repository,
        definitions=definitions,
        timeline=Timeline(repository),
        drawings=Drawings(plans, definitions, repository),
        values=values,
        workers=core.workers,
        signals=core.signals,
        event_tokens=tokens,
        clock=core.clock,
    )


def build_execution_artifacts(core: Core) -> ExecutionArtifacts:
    repository = ExecutionRepository(core.executions.documents, core.steps.documents)
    return ExecutionArtifacts(repository, ValueStore(core.artifacts), core.artifacts)


def build_step_recordings(core: Core) -> StepRecordings:
    return StepRecordings(ExecutionRepository(core.executions.documents, core.steps.documents), core.artifacts)


def _build_service(
    core: Core, repository: ExecutionRepository, definitions: DefinitionRepository, plans: Plans
) -> ExecutionService:
    return ExecutionService(
        core.executions,
        repository,
        definitions,
        plans,
        ValueStore(core.artifacts),
        idempotency=_idempotency(core),
        admission=build_admission(core),
        signals=core.signals,
    )


def _idempotency(core: Core) -> Idempotency:
    return Idempotency(Reservations(core.database), clock=core.clock)
