"""Executions of workflows as the API serves them."""

from app.bootstrap.core import Core
from app.database.idempotency import Reservations
from app.http.idempotency import Idempotency
from app.identity.event_tokens import EventTokens
from app.tasks.admission import Admission
from app.workflows.definitions.reading import DefinitionReader
from app.workflows.definitions.repository import VERSIONS, WORKFLOWS, DefinitionRepository
from app.workflows.executions.answers import Answers
from app.workflows.executions.api import ExecutionApi
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.drawings import Drawings
from app.workflows.executions.models import SIGNALS
from app.workflows.executions.plans import Plans
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.service import ExecutionService
from app.workflows.executions.signals import SignalBox
from app.workflows.executions.steering import Steering
from app.workflows.executions.timeline import Timeline
from app.workflows.executions.values import ValueStore
from app.workflows.executions.waking import Waker


def build_execution_api(core: Core, tokens: EventTokens) -> ExecutionApi:
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
        answers=Answers(repository, conclusions, waker, core.signals, clock=core.clock),
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


def _build_service(
    core: Core, repository: ExecutionRepository, definitions: DefinitionRepository, plans: Plans
) -> ExecutionService:
    settings, recovery = core.settings, core.executions.recovery
    return ExecutionService(
        core.executions,
        repository,
        definitions,
        plans,
        ValueStore(core.artifacts),
        idempotency=_idempotency(core),
        admission=Admission(
            lambda tenant_id, most: recovery.count_waiting(limit=most, tenant_id=tenant_id),
            most=settings.max_backlog,
            most_per_tenant=settings.max_tenant_backlog,
        ),
        signals=core.signals,
    )


def _idempotency(core: Core) -> Idempotency:
    return Idempotency(Reservations(core.database), clock=core.clock)
