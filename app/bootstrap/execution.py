"""What a worker adds to the core: models, agents, the runner, the heartbeat and the upkeep. Heavy imports live here."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

import structlog
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.agents.registry import Registry
from app.agents.tools.toolbox import Toolboxes
from app.artifacts.store import ArtifactStore
from app.bootstrap.budgets import build_ledger
from app.bootstrap.circuits import Guarded, guard
from app.bootstrap.core import Core, build_core
from app.bootstrap.handling import build_handler
from app.bootstrap.retention import build_retention
from app.bootstrap.toolboxes import build_toolboxes
from app.checkpoints.models import COLLECTION as CHECKPOINTS
from app.checkpoints.service import Checkpoints
from app.database.client import connect_blocking
from app.database.documents import Document, Documents
from app.events.publishing import LivePublisher
from app.ids import new_id
from app.jobs import lock, permits
from app.jobs.dispatch import Dispatcher
from app.jobs.heartbeat import Heartbeat, longest_renewal
from app.jobs.lanes import FairOrder
from app.jobs.limits import Limits
from app.jobs.lock import StoreLock
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.reconciler import Reconciler
from app.jobs.recovery import Recovery
from app.jobs.reminders import Reminders
from app.jobs.runner import JobRunner
from app.jobs.sweeper import Sweeper, decide_lost
from app.jobs.upkeep import Upkeep, lock_lease
from app.jobs.workers import COLLECTION as WORKERS
from app.jobs.workers import WorkerIdentity
from app.llm.chat import ChatModels
from app.llm.search import WebSearch
from app.llm.tavily import web_search
from app.metrics.rollups import COUNTED, Rollups
from app.observability.metrics import Metrics
from app.sessions import messages
from app.settings import Settings
from app.tasks.aftermath import TaskAftermath
from app.tasks.conversation import Conversation
from app.tasks.handler import TaskHandler
from app.tasks.models import agent_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """One worker process's services, bound to its event loop."""

    core: Core
    chat: ChatModels
    search: WebSearch
    guarded: Guarded
    checkpoints: Checkpoints
    toolboxes: Toolboxes
    publisher: LivePublisher
    runner: JobRunner
    reconciler: Reconciler
    reminders: Reminders
    upkeep: Upkeep
    blocking_client: MongoClient[Document]

    @property
    def recovery(self) -> Recovery:
        return self.core.recovery

    @property
    def lease(self) -> timedelta:
        return self.core.settings.lease

    def create_heartbeat(
        self,
        identify: Callable[[], WorkerIdentity],
        *,
        in_flight: Callable[[], int],
        on_lost: Callable[[str], None],
        watch: Callable[[], None],
    ) -> Heartbeat:
        settings = self.core.settings
        return Heartbeat(
            self.blocking_client[settings.mongo_db_name][WORKERS],
            identify,
            lease=settings.lease,
            interval=timedelta(seconds=settings.heartbeat_sec),
            clock=self.core.clock,
            in_flight=in_flight,
            on_lost=on_lost,
            watch=watch,
        )

    async def synchronise_clock(self) -> None:
        try:
            await self.core.clock.synchronise(self.core.database)
        except PyMongoError as error:
            log.debug("clock.not_synchronised", error=type(error).__name__)

    async def close(self) -> None:
        # Beside the rest: a program among the tools may take seconds to end.
        closing_tools = asyncio.ensure_future(self.toolboxes.close())
        await self.reminders.close()
        await self.upkeep.close()
        await self.guarded.close()
        await self.chat.aclose()
        await self.search.aclose()
        await self.checkpoints.close()
        await self.publisher.close()
        await self.core.close()
        self.blocking_client.close()
        await closing_tools


async def build_execution(settings: Settings, *, registry: Registry | None = None) -> Execution:
    """Build and connect everything a worker needs, however long the store takes to answer."""
    core = build_core(settings, Metrics(), registry=registry)
    await core.wait_for_store()
    chat, search = ChatModels.from_settings(settings), web_search(settings)
    guarded = guard(core, chat, search)
    reminders = Reminders(core.recovery, core.doorbell.ring, clock=core.clock)
    message_documents = Documents(core.database[messages.COLLECTION])
    conversation = Conversation(core.tasks, message_documents, core.messages, core.documents(COUNTED))
    checkpoints = _build_checkpoints(core)
    aftermath = TaskAftermath(core.signals, conversation, reminders, core.metrics, checkpoints, clock=core.clock)
    dispatcher = _build_dispatcher(core)
    for plugin in core.registry.load_plugged_in():
        log.warning("plugin.agent_broken", **asdict(plugin))
    for plugin in core.evaluators.load_all():
        log.warning("plugin.evaluator_broken", **asdict(plugin))
    toolboxes = build_toolboxes(core.registry, settings.mcp_servers)
    publisher = LivePublisher(core.live, tokens=settings.stream_tokens, on_first_token=core.metrics.first_token_seen)
    handler = build_handler(core, guarded, checkpoints, toolboxes, publisher)
    runner = _build_runner(core, dispatcher, handler, aftermath)
    return Execution(
        core=core,
        chat=chat,
        search=search,
        guarded=guarded,
        checkpoints=checkpoints,
        toolboxes=toolboxes,
        publisher=publisher,
        runner=runner,
        reconciler=_build_reconciler(core, runner, aftermath),
        reminders=reminders,
        upkeep=_build_upkeep(core, dispatcher, reminders, conversation, checkpoints),
        blocking_client=connect_blocking(
            settings, longest_wait=longest_renewal(timedelta(seconds=settings.heartbeat_sec))
        ),
    )


def _build_dispatcher(core: Core) -> Dispatcher:
    settings = core.settings
    return Dispatcher(
        core.store,
        JobQueue(core.tasks, clock=core.clock, redispatch=timedelta(seconds=settings.redispatch_sec)),
        Permits(
            core.documents(permits.COLLECTION),
            core.tasks,
            clock=core.clock,
            # A permit of the tenant and one of the agent are taken before the claim.
            patience=2 * _longest_claim(settings),
        ),
        order=FairOrder(settings.tenant_weights),
        limits=Limits(settings.tenant_concurrency, settings.agent_concurrency),
        agent_of=agent_of,
        ring=core.doorbell.ring,
        clock=core.clock,
    )


def _longest_claim(settings: Settings) -> timedelta:
    """Twice the longest wait for an answer: by then a claim has arrived or never will."""
    return timedelta(seconds=2 * settings.mongo_timeout_sec)


def _build_checkpoints(core: Core) -> Checkpoints:
    return Checkpoints(
        core.documents(CHECKPOINTS),
        ArtifactStore(core.settings.artifact_location),
        ttl=timedelta(hours=core.settings.checkpoint_ttl_hours),
        clock=core.clock,
    )


def _build_runner(core: Core, dispatcher: Dispatcher, handler: TaskHandler, aftermath: TaskAftermath) -> JobRunner:
    settings = core.settings
    return JobRunner(
        core.store,
        dispatcher,
        handler,
        policy_of=core.retries.of_job,
        attempt_timeout=timedelta(seconds=settings.task_timeout_sec),
        lease=settings.lease,
        clock=core.clock,
        on_claimed=aftermath.claimed,
        on_settled=aftermath.settled,
    )


def _build_reconciler(core: Core, runner: JobRunner, aftermath: TaskAftermath) -> Reconciler:
    settings = core.settings
    return Reconciler(
        core.recovery,
        runner,
        patience=_longest_claim(settings),
        clock=core.clock,
        decide=lambda job: decide_lost(job, policy=core.retries.of_job(job), now=core.clock()),
        on_released=aftermath.settled,
    )


def _build_upkeep(
    core: Core, dispatcher: Dispatcher, reminders: Reminders, conversation: Conversation, checkpoints: Checkpoints
) -> Upkeep:
    settings = core.settings
    interval = timedelta(seconds=settings.sweep_sec)
    sweeper = Sweeper(
        core.recovery,
        core.workers,
        policy_of=core.retries.of_job,
        lease=settings.lease,
        clock=core.clock,
        interval=interval,
        ring=core.doorbell.ring,
        remind=reminders.remind,
        measure_depth=core.doorbell.measure_depth,
        broker_answers=lambda: core.doorbell.is_answered,
        on_change=core.signals.notify,
    )
    rollups, retention = Rollups(core.tasks, core.rollups, core.documents(COUNTED)), build_retention(core)
    return Upkeep(
        StoreLock(
            core.documents(lock.COLLECTION),
            "upkeep",
            holder=new_id(),
            lease=lock_lease(interval),
            clock=core.clock,
        ),
        [
            sweeper.sweep,
            dispatcher.heal,
            rollups.count_finished,
            conversation.complete_counted,
            retention.delete_batches,
            checkpoints.remove_expired,
            build_ledger(core).close_abandoned,
        ],
        stand_in=sweeper.stand_in,
        interval=interval,
    )
