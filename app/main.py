"""The API process: `create_app` wires the core to HTTP; `python -m app.main` serves it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from pymongo.errors import PyMongoError

from app.agents import routes as agent_routes
from app.agents.catalogue import Catalogue
from app.artifacts import routes as upload_routes
from app.bootstrap.admission import build_admission
from app.bootstrap.approvals import build_approvals, build_links
from app.bootstrap.budgets import build_service
from app.bootstrap.core import Core, build_core
from app.bootstrap.executions import build_execution_api, build_execution_artifacts, build_step_recordings
from app.bootstrap.legal_holds import build_legal_holds
from app.bootstrap.logs import build_log_service
from app.bootstrap.policies import build_gate, build_policy_service
from app.bootstrap.scoring import build_scoring
from app.bootstrap.sessions import build_session_service
from app.bootstrap.uploads import build_artifact_finder, build_uploads
from app.bootstrap.verification import build_verifier, verification_patience
from app.bootstrap.workflows import build_definitions
from app.cancellation import stop
from app.clock import utc_now
from app.database.idempotency import Reservations
from app.deadletters import routes as dead_letter_routes
from app.deadletters.repository import REDRIVES, DeadLetterRepository
from app.deadletters.service import DeadLetterService
from app.effects import routes as effect_routes
from app.effects.service import EffectService
from app.errors import OrchestratorError
from app.events.stream import StreamOver
from app.governance.approvals import link_routes as approval_link_routes
from app.governance.approvals import routes as approval_routes
from app.governance.audit import repository as audit_repository
from app.governance.audit import routes as audit_routes
from app.governance.audit.key_use import Denials, KeyUse, RefusedKeys
from app.governance.audit.repository import AuditRepository
from app.governance.audit.service import AuditService
from app.governance.budgets import routes as budget_routes
from app.governance.evaluation import routes as evaluator_routes
from app.governance.legal_holds import routes as legal_hold_routes
from app.governance.policy import routes as policy_routes
from app.governance.policy.configured import configured_policy
from app.http.client_address import ClientAddresses
from app.http.health import HealthCheck, Probe, health_router
from app.http.idempotency import Idempotency
from app.http.openapi import install_openapi, operation_id, take_routes
from app.http.pagination import MOST_COUNTED
from app.http.rate_limit import FailedAttempts, RateLimiter
from app.http.server import Server, server_config
from app.http.stack import install_http
from app.identity.authentication import PUBLIC_PATHS, Authentication
from app.identity.event_tokens import EventTokens, token_secret
from app.identity.keys import KeyRing
from app.identity.link_tokens import LinkTokens
from app.invariants.watch import InvariantWatch
from app.logs import routes as log_routes
from app.metrics import routes as metric_routes
from app.metrics.service import SystemMetrics
from app.metrics.usage import UsageReport
from app.observability.logging import configure_logging
from app.observability.metrics import CONTENT_TYPE, InvariantGauges, Metrics
from app.replay import routes as recording_routes
from app.replay.recordings import RecordingService
from app.sessions import routes as session_routes
from app.settings import ConfigurationError, Settings, load_settings
from app.tasks import artifact_routes, attempt_routes, rerun_routes, review_routes, routing_routes
from app.tasks import routes as task_routes
from app.tasks.api import TaskApi
from app.tasks.artifacts import ArtifactService
from app.tasks.input_artifacts import InputArtifacts
from app.tasks.service import TaskService
from app.tasks.waiting import TaskWatch
from app.version import VERSION
from app.workflows.definitions import routes as workflow_routes
from app.workflows.executions import artifact_routes as execution_artifact_routes
from app.workflows.executions import receipts as receipt_routes
from app.workflows.executions import recording_routes as step_recording_routes
from app.workflows.executions import routes as execution_routes
from app.workflows.executions import step_routes
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.scoring import routes as scoring_routes

log = structlog.get_logger("app.main")

DESCRIPTION = (
    "Natural-language tasks go in, are stored, queued, routed to an agent, carried out and come out with evidence. "
    "Nothing accepted is lost."
)
# In the order of the OpenAPI document.
ROUTERS = (
    task_routes.router,
    routing_routes.router,
    artifact_routes.router,
    upload_routes.router,
    attempt_routes.router,
    recording_routes.router,
    review_routes.router,
    rerun_routes.router,
    agent_routes.router,
    evaluator_routes.router,
    scoring_routes.router,
    effect_routes.router,
    workflow_routes.router,
    execution_routes.router,
    step_routes.router,
    execution_artifact_routes.router,
    step_recording_routes.router,
    receipt_routes.router,
    session_routes.router,
    dead_letter_routes.router,
    metric_routes.router,
    budget_routes.router,
    policy_routes.router,
    approval_routes.router,
    approval_link_routes.router,
    legal_hold_routes.router,
    audit_routes.router,
    log_routes.router,
)
EXIT_MISCONFIGURED = 2
CLOCK_PAUSE = 10.0
STOP_PATIENCE = timedelta(seconds=2)
CoreFactory = Callable[[Settings, Metrics], Core]


def create_app(settings: Settings, *, core_factory: CoreFactory = build_core) -> FastAPI:
    """The whole API, not yet connected: clients are built when the server starts and belong to its event loop."""
    limiter = RateLimiter(
        per_minute=settings.api_rate_limit_per_minute,
        redis_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
    )
    secret, metrics = token_secret(settings), Metrics()
    tokens = EventTokens(secret)
    app = FastAPI(
        title="Agent Orchestrator",
        version=VERSION,
        description=DESCRIPTION,
        generate_unique_id_function=operation_id,
        lifespan=partial(_lifespan, build=lambda: core_factory(settings, metrics), limiter=limiter, tokens=tokens),
        redoc_url=None,
    )
    app.state.link_tokens = LinkTokens(secret)
    app.add_exception_handler(StreamOver, _nothing_more)
    for router in ROUTERS:
        take_routes(app, router)
    if settings.prometheus_enabled:
        app.include_router(_prometheus_router(metrics))
    _install_edges(app, settings, limiter, tokens, metrics)
    return app


async def _nothing_more(_request: Request, _error: Exception) -> Response:
    # The one answer that keeps an EventSource from asking again.
    return Response(status_code=204)


def _install_edges(
    app: FastAPI, settings: Settings, limiter: RateLimiter, tokens: EventTokens, metrics: Metrics
) -> None:
    health = HealthCheck(_probes(app, settings))
    app.state.health = health
    app.include_router(health_router(health, environment=settings.environment.value))
    addresses = ClientAddresses(settings.trusted_proxies)
    install_openapi(app, public_paths=PUBLIC_PATHS | {approval_link_routes.PUBLIC_PATH})
    install_http(
        app,
        settings,
        metrics=metrics,
        limiter=limiter,
        addresses=addresses,
        authentication=partial(
            Authentication,
            keyring=KeyRing(settings.api_keys, default_tenant=settings.default_tenant),
            tokens=tokens,
            links=app.state.link_tokens,
            on_failure=RefusedKeys(
                FailedAttempts(limiter, addresses), addresses, tenant_id=settings.default_tenant, clock=utc_now
            ),
            on_success=KeyUse(clock=utc_now),
            on_denied=Denials(clock=utc_now),
        ),
        documents={
            **workflow_routes.DOCUMENTS,
            **log_routes.DOCUMENTS,
            **policy_routes.DOCUMENTS,
            **approval_link_routes.DOCUMENTS,
        },
        streams=upload_routes.STREAMS,
    )


def _probes(app: FastAPI, settings: Settings) -> Mapping[str, Probe]:
    async def mongo() -> None:
        await app.state.core.database.command("ping")

    async def redis() -> None:
        await app.state.core.redis.ping()

    return {"mongo": mongo, "redis": redis} if settings.redis_url else {"mongo": mongo}


def _prometheus_router(metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["System"])

    @router.get("/metrics", response_class=PlainTextResponse)
    async def prometheus(request: Request) -> Response:
        """This process's counters and the live state of the queue, in Prometheus' text form."""
        await _set_gauges(request.app.state.core, metrics)
        return Response(metrics.expose(), media_type=CONTENT_TYPE)

    return router


async def _set_gauges(core: Core, metrics: Metrics) -> None:
    try:
        workers = await core.workers.list_live()
        waiting = sum([await jobs.recovery.count_waiting(limit=MOST_COUNTED) for jobs in core.kinds])
    except OrchestratorError:
        return  # The store is down; the process's own counters are still worth scraping.
    metrics.workers_alive.set(len(workers))
    metrics.jobs_in_flight.set(sum(one["in_flight"] for one in workers))
    metrics.jobs_waiting.set(waiting)
    metrics.queue_length.set(await core.doorbell.measure_depth() or 0)


@asynccontextmanager
async def _lifespan(
    app: FastAPI, *, build: Callable[[], Core], limiter: RateLimiter, tokens: EventTokens
) -> AsyncIterator[None]:
    core = build()
    app.state.core = core
    api = app.state.task_api = _build_task_api(core, tokens)
    app.state.agents = Catalogue(core.registry, core.settings.mcp_servers)
    app.state.evaluators = core.evaluators
    app.state.effects = EffectService(core.effects, api.tasks.get, record=core.audit.record)
    app.state.artifacts = ArtifactService(core.artifacts, api.tasks.get)
    app.state.uploads = build_uploads(core)
    app.state.artifact_finder = build_artifact_finder(core)
    app.state.input_artifacts = InputArtifacts(app.state.artifact_finder)
    app.state.recordings = RecordingService(core.artifacts, api.tasks.get)
    app.state.definitions = build_definitions(core)
    app.state.scoring = build_scoring(core)
    app.state.approvals = build_approvals(core)
    app.state.approval_links = build_links(core, app.state.approvals, app.state.link_tokens)
    app.state.execution_api = build_execution_api(core, tokens, app.state.approvals)
    app.state.execution_artifacts = build_execution_artifacts(core)
    app.state.step_recordings = build_step_recordings(core)
    app.state.execution_receipts = receipt_routes.Receipts(core.executions.documents, core.steps.documents)
    app.state.sessions = build_session_service(core)
    app.state.dead_letters = _build_dead_letters(core, api.tasks)
    app.state.system_metrics = _build_system_metrics(core, app.state.health)
    app.state.usage = UsageReport(core.rollups, clock=core.clock)
    app.state.budgets = build_service(core)
    app.state.policies = build_policy_service(core)
    app.state.logs = build_log_service(core)
    app.state.legal_holds = build_legal_holds(core)
    app.state.audit = AuditService(AuditRepository(core.documents(audit_repository.COLLECTION)))
    core.signals.start_listening()
    upkeep = asyncio.create_task(_keep_store_ready(core), name="store-upkeep")
    watch = asyncio.create_task(_watch_invariants(core), name="invariants")
    log.info("api.started", version=VERSION)
    yield
    await stop(watch, patience=STOP_PATIENCE)
    await stop(upkeep, patience=STOP_PATIENCE)
    await limiter.close()
    await core.close()


async def _keep_store_ready(core: Core) -> None:
    # In the background: until then the API answers 503.
    await core.wait_for_store()
    while True:
        await asyncio.sleep(CLOCK_PAUSE)
        with contextlib.suppress(PyMongoError):
            await core.clock.synchronise(core.database)


async def _watch_invariants(core: Core) -> None:
    settings = core.settings
    if not settings.verify_interval_sec or not settings.prometheus_enabled:
        return
    gauges = InvariantGauges(core.metrics)
    watch = InvariantWatch(
        build_verifier(settings, core.database, clock=core.clock),
        interval=timedelta(seconds=settings.verify_interval_sec),
        patience=verification_patience(settings),
        report=lambda found: gauges.set({one.name: len(one.offenders) for one in found.findings}, found.at),
    )
    await watch.run_for_ever()


def _build_task_api(core: Core, tokens: EventTokens) -> TaskApi:
    settings = core.settings
    service = TaskService(
        core.store,
        core.repository,
        TaskWatch(core.repository, core.signals),
        registry=core.registry,
        idempotency=Idempotency(Reservations(core.database), clock=core.clock),
        bell=core.task_jobs.bell,
        signals=core.signals,
        messages=core.messages,
        clock=core.clock,
        admission=build_admission(core),
        retries=core.retries,
        is_governed=build_gate(core).governs,
        evaluators=core.evaluators.names,
    )
    return TaskApi(
        tasks=service,
        repository=core.repository,
        workers=core.workers,
        signals=core.signals,
        live=core.live,
        event_tokens=tokens,
        measure_depth=core.task_jobs.bell.measure_depth,
        find_circuit=core.circuits.find,
        clock=core.clock,
        max_task_bytes=settings.max_task_bytes,
    )


def _build_dead_letters(core: Core, tasks: TaskService) -> DeadLetterService:
    return DeadLetterService(
        DeadLetterRepository(core.tasks, core.documents(REDRIVES), clock=core.clock),
        tasks,
        registry=core.registry,
        idempotency=Idempotency(Reservations(core.database), clock=core.clock),
    )


def _build_system_metrics(core: Core, health: HealthCheck) -> SystemMetrics:
    executions = ExecutionRepository(core.executions.documents, core.steps.documents)
    return SystemMetrics(
        core.tasks,
        core.rollups,
        core.workers,
        count_executions=executions.count_open,
        history_days=core.settings.metrics_history_days,
        clock=core.clock,
        measure_depth=core.doorbell.measure_depth,
        probe=health.check,
    )


def create_server(settings: Settings, app: FastAPI) -> Server:
    """The server of one API process; its streams and long polls end as soon as it is told to stop."""

    def end_waiting() -> None:
        if core := getattr(app.state, "core", None):
            core.signals.stop_waiting()

    return Server(server_config(app, host=settings.api_host, port=settings.api_port), on_stop=end_waiting)


def serve(settings: Settings, *, core_factory: CoreFactory = build_core) -> None:
    """Serve until told to stop; requests in flight get time to end."""
    create_server(settings, create_app(settings, core_factory=core_factory)).run()


def main(*, core_factory: CoreFactory = build_core) -> int:
    """Serve until told to stop; answers the exit code."""
    try:
        settings = load_settings()
        configured_policy(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_MISCONFIGURED
    configure_logging(settings, service="api")
    serve(settings, core_factory=core_factory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
