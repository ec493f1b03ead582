"""The composition root: builds clients, repositories and services once, for the API, the workers and the tests."""

import asyncio
from dataclasses import asdict, dataclass
from datetime import timedelta

import structlog
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import Redis

from app.agents.registry import Registry, build_registry
from app.artifacts import repository as uploads
from app.artifacts.repository import COLLECTION as UPLOADS
from app.artifacts.store import ArtifactStore
from app.bootstrap.jobs import build_doorbell, build_executions, build_steps, build_task_jobs
from app.checkpoints import models as checkpoints
from app.clock import Clock
from app.database import idempotency as idempotency_store
from app.database.client import connect, database_of
from app.database.documents import Database, Document, Documents
from app.database.indexes import ensure_indexes
from app.database.store_clock import StoreClock
from app.deadletters import repository as dead_letters
from app.effects import ledger
from app.effects.ledger import EffectLedger
from app.events.live import LiveLog
from app.events.signals import Signals, connect_redis
from app.governance.approvals import repository as approvals
from app.governance.audit import intents as audit_intents
from app.governance.audit import repository as audit
from app.governance.audit.intents import Intents
from app.governance.audit.repository import AuditRepository
from app.governance.audit.trail import AuditTrail
from app.governance.budgets import ledger as budget_ledger
from app.governance.budgets import repository as budget_repository
from app.governance.evaluation.plugins import Evaluators, load_evaluators
from app.governance.legal_holds import repository as legal_holds
from app.governance.policy import repository as policies
from app.jobs import recovery, workers
from app.jobs.doorbell import Doorbell
from app.jobs.kind import Jobs
from app.jobs.recovery import Recovery
from app.jobs.retry import Backoff, RetryPolicy
from app.jobs.store import JobStore
from app.jobs.workers import WorkerDirectory
from app.llm import circuit_store
from app.llm.circuit_store import CircuitStore
from app.logs import repository as logs
from app.metrics import rollups
from app.observability.metrics import Metrics
from app.observability.redaction import Redactor, secrets_of
from app.sessions import messages
from app.sessions import repository as sessions
from app.sessions.messages import MessageLog
from app.settings import Settings
from app.tasks import repository
from app.tasks.repository import TaskRepository
from app.tasks.retry_policy import RetryPolicies
from app.workflows.definitions import repository as definitions
from app.workflows.executions import journal, signals
from app.workflows.executions import repository as executions
from app.workflows.executions.models import EXECUTIONS, STEPS

log = structlog.get_logger(__name__)

RETRY_PAUSE = 1.0
INDEXES = (
    *repository.INDEXES,
    *workers.INDEXES,
    *rollups.INDEXES,
    *messages.INDEXES,
    *sessions.INDEXES,
    *idempotency_store.INDEXES,
    *ledger.INDEXES,
    *dead_letters.INDEXES,
    *circuit_store.INDEXES,
    *checkpoints.INDEXES,
    *budget_ledger.INDEXES,
    *budget_repository.INDEXES,
    *audit.INDEXES,
    *audit_intents.INDEXES,
    *logs.INDEXES,
    *uploads.INDEXES,
    *approvals.INDEXES,
    *legal_holds.indexes(UPLOADS, "sha256"),
    *definitions.INDEXES,
    *policies.INDEXES,
    *recovery.indexes(EXECUTIONS),
    *recovery.indexes(STEPS),
    *executions.INDEXES,
    *journal.INDEXES,
    *signals.INDEXES,
)


@dataclass(frozen=True, slots=True)
class Core:
    """What every process of the product needs, whatever it does with it."""

    settings: Settings
    client: AsyncMongoClient[Document]
    database: Database
    clock: StoreClock
    redis: Redis | None
    signals: Signals
    live: LiveLog
    doorbell: Doorbell
    registry: Registry
    metrics: Metrics
    task_jobs: Jobs
    executions: Jobs
    steps: Jobs
    rollups: Documents
    repository: TaskRepository
    workers: WorkerDirectory
    messages: MessageLog
    effects: EffectLedger
    retries: RetryPolicies
    circuits: CircuitStore
    artifacts: ArtifactStore
    evaluators: Evaluators
    audit: AuditTrail
    intents: Intents

    @property
    def kinds(self) -> tuple[Jobs, ...]:
        """All that is done by workers."""
        return (self.task_jobs, self.executions, self.steps)

    @property
    def tasks(self) -> Documents:
        return self.task_jobs.documents

    @property
    def store(self) -> JobStore:
        """The tasks'."""
        return self.task_jobs.store

    @property
    def recovery(self) -> Recovery:
        """The tasks'."""
        return self.task_jobs.recovery

    def documents(self, collection: str) -> Documents:
        return Documents(self.database[collection])

    async def prepare_store(self) -> None:
        """Create missing indexes and adopt the store's clock; raises a driver error when the store is down."""
        await ensure_indexes(self.database, INDEXES)
        await self.clock.synchronise(self.database)

    async def wait_for_store(self) -> None:
        """Prepare the store as soon as it answers; a process that waits is better than one that dies in a loop."""
        while True:
            try:
                await self.prepare_store()
            except PyMongoError as error:
                log.warning("store.not_ready", error=type(error).__name__)
                await asyncio.sleep(RETRY_PAUSE)
            else:
                return

    async def close(self) -> None:
        await self.messages.close()
        await self.audit.close()
        # It waits for its thread, which must not hold up the loop.
        await asyncio.to_thread(self.doorbell.close)
        await self.signals.close()
        await self.live.close()
        if self.redis is not None:
            await self.redis.aclose()
        await self.client.close()


def build_core(
    settings: Settings,
    metrics: Metrics,
    *,
    client: AsyncMongoClient[Document] | None = None,
    registry: Registry | None = None,
) -> Core:
    """Everything wired, nothing connected yet, for the event loop that runs; by default with the product's agents."""
    client = client or connect(settings)
    database = database_of(client, settings)
    clock, registry, doorbell = StoreClock(), registry or _build_registry(settings), build_doorbell(settings, metrics)
    task_jobs = build_task_jobs(settings, database, clock, doorbell)
    trail = _build_audit(settings, database, clock, metrics)
    return Core(
        settings=settings,
        client=client,
        database=database,
        clock=clock,
        redis=_connect_redis(settings),
        signals=Signals(_connect_redis(settings)),
        live=LiveLog(_connect_redis(settings)),
        doorbell=doorbell,
        registry=registry,
        metrics=metrics,
        task_jobs=task_jobs,
        executions=build_executions(settings, database, clock, doorbell),
        steps=build_steps(settings, database, clock, doorbell),
        rollups=Documents(database[rollups.COLLECTION]),
        repository=TaskRepository(task_jobs.documents),
        workers=WorkerDirectory(Documents(database[workers.COLLECTION]), clock=clock),
        messages=_build_messages(settings, database),
        effects=_build_effects(settings, database, clock),
        retries=RetryPolicies(_default_retries(settings), registry),
        circuits=CircuitStore(Documents(database[circuit_store.COLLECTION]).of_tenant(workers.SYSTEM_TENANT)),
        artifacts=ArtifactStore(settings.artifact_location),
        evaluators=_build_evaluators(settings),
        audit=trail,
        intents=Intents(Documents(database[audit_intents.COLLECTION]), trail, clock=clock),
    )


def _connect_redis(settings: Settings) -> Redis | None:
    return connect_redis(settings.redis_url.get_secret_value()) if settings.redis_url else None


def _build_registry(settings: Settings) -> Registry:
    registry = build_registry(settings)
    for plugin in registry.list_broken():
        log.warning("plugin.left_out", **asdict(plugin))
    return registry


def _build_evaluators(settings: Settings) -> Evaluators:
    evaluators = load_evaluators(settings.agent_plugins)
    for plugin in evaluators.list_broken():
        log.warning("plugin.left_out", **asdict(plugin))
    return evaluators


def _default_retries(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=settings.task_max_attempts,
        backoff=Backoff(
            initial=timedelta(seconds=settings.retry_initial_sec),
            maximum=timedelta(seconds=settings.retry_maximum_sec),
        ),
        max_total=timedelta(seconds=settings.retry_total_sec),
    )


def _build_messages(settings: Settings, database: Database) -> MessageLog:
    lifetime = timedelta(days=settings.session_ttl_days)
    return MessageLog(Documents(database[messages.COLLECTION]), lifetime=lifetime)


def _build_audit(settings: Settings, database: Database, clock: Clock, metrics: Metrics) -> AuditTrail:
    documents, redactor = Documents(database[audit.COLLECTION]), Redactor(secrets_of(settings))
    return AuditTrail(AuditRepository(documents), redactor, clock=clock, on_lost=metrics.losses.audit.inc)


def _build_effects(settings: Settings, database: Database, clock: Clock) -> EffectLedger:
    documents = Documents(database[ledger.COLLECTION])
    return EffectLedger(documents, clock=clock, lifetime=timedelta(days=settings.effect_ttl_days))
