"""What a worker adds to the core: models, agents, the runner, the heartbeat and the upkeep. Heavy imports live here."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

import structlog
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from app.agents.registry import Registry
from app.agents.tools.toolbox import Toolboxes
from app.artifacts.store import ArtifactStore
from app.bootstrap.approvals import build_approving
from app.bootstrap.artifacts import build_upload_retention
from app.bootstrap.budgets import build_ledger
from app.bootstrap.circuits import Guarded, guard
from app.bootstrap.core import Core, build_core
from app.bootstrap.driving import Carriers, build_driving
from app.bootstrap.handling import build_equipment, build_handler
from app.bootstrap.legal_holds import build_hold_keeper
from app.bootstrap.logs import start_shipping
from app.bootstrap.policies import build_policy_enforcer
from app.bootstrap.retention import build_execution_retention, build_retention
from app.bootstrap.toolboxes import build_toolboxes
from app.bootstrap.worked import Gate, Work, Worked, build_gate, build_reminders, build_worked
from app.checkpoints.models import COLLECTION as CHECKPOINTS
from app.checkpoints.service import Checkpoints
from app.database.client import connect_blocking
from app.database.documents import Document, Documents
from app.events.publishing import LivePublisher
from app.ids import new_id
from app.jobs import lock
from app.jobs.heartbeat import Heartbeat, longest_renewal
from app.jobs.lock import StoreLock
from app.jobs.parking import Parking
from app.jobs.slots import Slots
from app.jobs.upkeep import Chore, Seldom, Upkeep, lock_lease
from app.jobs.workers import COLLECTION as WORKERS
from app.jobs.workers import WorkerIdentity
from app.llm.chat import ChatModels
from app.llm.search import WebSearch
from app.llm.tavily import web_search
from app.logs.shipping import LogQueue, LogShipper
from app.metrics.rollups import CHARGES_OF_STEPS, COUNTED, Rollups
from app.observability.metrics import Metrics
from app.sessions import messages
from app.settings import Settings
from app.tasks.aftermath import TaskAftermath
from app.tasks.conversation import Conversation
from app.tasks.models import agent_of
from app.workflows.executions.orphans import Orphans
from app.workflows.steps.commands import Guard

log = structlog.get_logger(__name__)

# Of the sweep's interval.
SELDOM = 3


@dataclass(frozen=True, slots=True)
class Execution:
    """One worker process's services, bound to its event loop. ``worked`` is what it does, by the kind of job."""

    core: Core
    slots: Slots
    worked: Mapping[str, Worked]
    chat: ChatModels
    search: WebSearch
    guarded: Guarded
    checkpoints: Checkpoints
    toolboxes: Toolboxes
    publisher: LivePublisher
    upkeep: Upkeep
    blocking_client: MongoClient[Document]
    shipper: LogShipper

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
        for worked in self.worked.values():
            await worked.reminders.close()
        await self.upkeep.close()
        await self.guarded.close()
        await self.chat.aclose()
        await self.search.aclose()
        await self.checkpoints.close()
        await self.publisher.close()
        await self.shipper.close()
        await self.core.close()
        self.blocking_client.close()
        await closing_tools


async def build_execution(
    settings: Settings,
    *,
    registry: Registry | None = None,
    guard_of_programs: Guard | None = None,
    log_queue: LogQueue | None = None,
) -> Execution:
    """Build and connect everything a worker needs, however long the store takes to answer."""
    core = build_core(settings, Metrics(), registry=registry)
    await core.wait_for_store()
    core.signals.start_listening()
    chat, search = ChatModels.from_settings(settings), web_search(settings)
    guarded, gate, slots = guard(core, chat, search), build_gate(core), Slots(settings.worker_slots)
    _load_plugins(core)
    toolboxes = build_toolboxes(core.registry, settings.mcp_servers)
    publisher = LivePublisher(core.live, tokens=settings.stream_tokens, on_first_token=core.metrics.first_token_seen)
    approving = build_approving(core)
    checkpoints, policy = _build_checkpoints(core), build_policy_enforcer(core, approving.approvals)
    equipment = build_equipment(core, guarded, checkpoints, toolboxes, policy)
    carriers = Carriers(guarded, checkpoints, publisher, guard_of_programs or Guard(), approving.approvals, equipment)
    conversation = _build_conversation(core)
    driving = build_driving(core, carriers, slots=slots, gate=gate)
    worked = [_build_tasks(core, carriers, conversation, gate), *driving.worked]
    of_work = [driving.upkeep.wake_forgotten, approving.upkeep.attend_due, core.intents.settle_left]
    chores = [conversation.complete_counted, carriers.checkpoints.remove_expired, *of_work]
    return Execution(
        core=core,
        slots=slots,
        worked={one.jobs.kind: one for one in worked},
        chat=chat,
        search=search,
        guarded=guarded,
        checkpoints=carriers.checkpoints,
        toolboxes=toolboxes,
        publisher=publisher,
        upkeep=_build_upkeep(core, worked, gate.parking, chores),
        blocking_client=_connect_blocking(settings),
        shipper=start_shipping(core, LogQueue() if log_queue is None else log_queue),
    )


def _connect_blocking(settings: Settings) -> MongoClient[Document]:
    return connect_blocking(settings, longest_wait=longest_renewal(timedelta(seconds=settings.heartbeat_sec)))


def _build_tasks(core: Core, carriers: Carriers, conversation: Conversation, gate: Gate) -> Worked:
    reminders = build_reminders(core, core.task_jobs)
    aftermath = TaskAftermath(
        core.signals,
        conversation,
        reminders,
        core.task_jobs.bell.ring,
        core.metrics,
        carriers.checkpoints,
        clock=core.clock,
    )
    handler = build_handler(core, carriers.guarded, carriers.equipment, carriers.publisher)
    tasks = Work(
        handler,
        policy_of=core.retries.of_job,
        attempt_timeout=timedelta(seconds=core.settings.task_timeout_sec),
        on_claimed=aftermath.claimed,
        on_settled=aftermath.settled,
        agent_of=agent_of,
    )
    return build_worked(core, core.task_jobs, tasks, gate=gate, reminders=reminders)


def _build_conversation(core: Core) -> Conversation:
    documents = Documents(core.database[messages.COLLECTION])
    return Conversation(core.tasks, documents, core.messages, core.documents(COUNTED))


def _load_plugins(core: Core) -> None:
    for plugin in core.registry.load_plugged_in():
        log.warning("plugin.agent_broken", **asdict(plugin))
    for plugin in core.evaluators.load_all():
        log.warning("plugin.evaluator_broken", **asdict(plugin))


def _build_checkpoints(core: Core) -> Checkpoints:
    return Checkpoints(
        core.documents(CHECKPOINTS),
        ArtifactStore(core.settings.artifact_location),
        ttl=timedelta(hours=core.settings.checkpoint_ttl_hours),
        clock=core.clock,
    )


def _build_upkeep(core: Core, worked: Sequence[Worked], parking: Parking, chores: Sequence[Chore]) -> Upkeep:
    interval = timedelta(seconds=core.settings.sweep_sec)

    async def stand_in() -> None:
        for one in worked:
            await one.sweeper.stand_in()

    rollups = Rollups(core.tasks, core.rollups, core.documents(COUNTED))
    charges = Rollups(core.steps.documents, core.rollups, None, CHARGES_OF_STEPS)
    orphans = Orphans(core.executions.documents, core.steps.documents, core.steps.store)
    return Upkeep(
        StoreLock(
            core.documents(lock.COLLECTION),
            "upkeep",
            holder=new_id(),
            lease=lock_lease(interval),
            clock=core.clock,
        ),
        [
            *(one.sweeper.sweep for one in worked),
            parking.heal,
            rollups.count_finished,
            charges.count_finished,
            *chores,
            # They heal what is rare, and look at things that are some seconds old.
            Seldom(orphans.cancel_all, every=SELDOM * interval),
            # Before what deletes.
            Seldom(build_hold_keeper(core).keep_some, every=SELDOM * interval),
            Seldom(build_retention(core).delete_batches, every=SELDOM * interval),
            Seldom(build_execution_retention(core).delete_batches, every=SELDOM * interval),
            Seldom(build_upload_retention(core).delete_due, every=SELDOM * interval),
            Seldom(build_ledger(core).close_abandoned, every=SELDOM * interval),
        ],
        stand_in=stand_in,
        interval=interval,
    )
