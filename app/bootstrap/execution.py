"""What a worker adds to the core: models, agents, the runner, the heartbeat and the upkeep. Heavy imports live here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.agents.peer import PeerAgent
from app.bootstrap.core import Core, build_core
from app.database.client import connect_blocking
from app.database.documents import Document, Documents
from app.ids import new_id
from app.jobs import lock
from app.jobs.heartbeat import Heartbeat
from app.jobs.lock import StoreLock
from app.jobs.reconciler import Reconciler
from app.jobs.recovery import Recovery
from app.jobs.reminders import Reminders
from app.jobs.runner import JobRunner
from app.jobs.sweeper import Sweeper, decide_lost
from app.jobs.upkeep import Upkeep
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

log = structlog.get_logger(__name__)

SHORTEST_LOCK = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Execution:
    """One worker process's services, bound to its event loop."""

    core: Core
    chat: ChatModels
    search: WebSearch
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
        await self.reminders.close()
        await self.upkeep.close()
        await self.chat.aclose()
        await self.search.aclose()
        await self.core.close()
        self.blocking_client.close()


async def build_execution(settings: Settings) -> Execution:
    """Build and connect everything a worker needs, however long the store takes to answer."""
    core = build_core(settings, Metrics())
    await core.wait_for_store()
    chat, search = ChatModels.from_settings(settings), web_search(settings)
    reminders = Reminders(core.recovery, core.doorbell.ring, clock=core.clock)
    message_documents = Documents(core.database[messages.COLLECTION])
    conversation = Conversation(core.tasks, message_documents, core.messages, core.documents(COUNTED))
    aftermath = TaskAftermath(core.signals, conversation, reminders, core.metrics, clock=core.clock)
    runner = _build_runner(core, chat, search, aftermath)
    return Execution(
        core=core,
        chat=chat,
        search=search,
        runner=runner,
        reconciler=_build_reconciler(core, runner, aftermath),
        reminders=reminders,
        upkeep=_build_upkeep(core, conversation),
        blocking_client=connect_blocking(settings),
    )


def _build_runner(core: Core, chat: ChatModels, search: WebSearch, aftermath: TaskAftermath) -> JobRunner:
    settings = core.settings
    handler = TaskHandler(
        core.registry,
        PeerAgent(core.registry, minimum_confidence=settings.router_min_confidence),
        chat=chat,
        search=search,
        max_sources=settings.web_search_max_results,
        clock=core.clock,
    )

    return JobRunner(
        core.store,
        handler,
        backoff=core.backoff,
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
        # Twice the longest wait for an answer: by then a claim has arrived or never will.
        patience=timedelta(seconds=2 * settings.mongo_timeout_sec),
        clock=core.clock,
        decide=lambda job: decide_lost(job, backoff=core.backoff, now=core.clock()),
        on_released=aftermath.settled,
    )


def _build_upkeep(core: Core, conversation: Conversation) -> Upkeep:
    settings = core.settings
    sweeper = Sweeper(
        core.recovery,
        core.workers,
        backoff=core.backoff,
        lease=settings.lease,
        clock=core.clock,
        ring=core.doorbell.ring,
        measure_depth=core.doorbell.measure_depth,
        broker_answers=lambda: core.doorbell.is_answered,
        on_change=core.signals.notify,
    )
    rollups = Rollups(core.tasks, core.rollups, core.documents(COUNTED))
    interval = timedelta(seconds=settings.sweep_sec)
    return Upkeep(
        StoreLock(
            core.documents(lock.COLLECTION),
            "upkeep",
            holder=new_id(),
            lease=max(interval * 5, SHORTEST_LOCK),
            clock=core.clock,
        ),
        [sweeper.sweep, rollups.count_finished, conversation.complete_counted],
        interval=interval,
    )
