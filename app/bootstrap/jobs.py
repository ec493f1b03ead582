"""The kinds of jobs, each over its own collection and with its own bell, as every process needs them."""

from collections.abc import Mapping
from datetime import timedelta

from app.clock import Clock
from app.database.documents import Database, Documents
from app.jobs.broker import (
    DRIVE_EXECUTION,
    EVALUATE_TASK,
    EVALUATION_QUEUE,
    PROCESS_STEP,
    PROCESS_TASK,
    TASK_QUEUE,
    WORKFLOW_QUEUE,
    create_celery,
)
from app.jobs.doorbell import Bell, Doorbell, Place
from app.jobs.grouped import GroupedWrites
from app.jobs.kind import Jobs
from app.jobs.lanes import Stage
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.observability.metrics import Metrics
from app.settings import Settings
from app.tasks.models import COLLECTION as TASKS
from app.workflows.executions.models import EXECUTIONS, STEPS

# Executions are woken again and again, some for weeks, and the log of what happened is their own.
HISTORY_LIMITS: Mapping[str, int] = {EXECUTIONS: 20}
# A step may take no time at all: thousands of them end at the same time, and with them many executions.
GROUPED = frozenset({EXECUTIONS, STEPS})


def build_doorbell(settings: Settings, metrics: Metrics) -> Doorbell:
    return Doorbell(
        create_celery(settings.app_name, settings.broker_url, sqs_queue_url_prefix=settings.sqs_queue_url_prefix),
        on_ring=lambda rung: metrics.bell_rung() if rung else metrics.bell_failed(),
    )


def build_task_jobs(settings: Settings, database: Database, clock: Clock, doorbell: Doorbell) -> Jobs:
    evaluation = {Stage.EVALUATION: Place(EVALUATE_TASK, EVALUATION_QUEUE)}
    bell = doorbell.bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id", stages=evaluation)
    return _build(TASKS, bell, settings, database, clock)


def build_executions(settings: Settings, database: Database, clock: Clock, doorbell: Doorbell) -> Jobs:
    bell = doorbell.bell(task=DRIVE_EXECUTION, queue_name=WORKFLOW_QUEUE, argument="execution_id")
    return _build(EXECUTIONS, bell, settings, database, clock)


def build_steps(settings: Settings, database: Database, clock: Clock, doorbell: Doorbell) -> Jobs:
    bell = doorbell.bell(task=PROCESS_STEP, queue_name=WORKFLOW_QUEUE, argument="step_id")
    return _build(STEPS, bell, settings, database, clock)


def _build(kind: str, bell: Bell, settings: Settings, database: Database, clock: Clock) -> Jobs:
    documents, redispatch = Documents(database[kind]), timedelta(seconds=settings.redispatch_sec)
    limit = HISTORY_LIMITS.get(kind)
    return Jobs(
        kind=kind,
        documents=documents,
        store=JobStore(
            documents,
            clock=clock,
            redispatch=redispatch,
            priority_step=timedelta(seconds=settings.priority_step_sec),
            history_limit=limit,
            grouped=GroupedWrites(documents) if kind in GROUPED else None,
        ),
        recovery=Recovery(documents, clock=clock, redispatch=redispatch, history_limit=limit),
        queue=JobQueue(documents, clock=clock, redispatch=redispatch),
        bell=bell,
    )
