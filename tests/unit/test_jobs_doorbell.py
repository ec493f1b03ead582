"""One doorbell, several bells: each kind of job has its own Celery task, argument and queue."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from app.jobs.broker import (
    DRIVE_EXECUTION,
    EVALUATE_TASK,
    EVALUATION_QUEUE,
    PROCESS_STEP,
    PROCESS_TASK,
    QUEUES,
    TASK_QUEUE,
    WORKFLOW_QUEUE,
)
from app.jobs.doorbell import BUFFERED, Doorbell, Place
from app.jobs.lanes import Stage

PATIENCE = 10.0


@pytest.fixture
def celery() -> Iterator[Celery]:
    celery = Celery("test", broker="memory://", set_as_current=False)
    yield celery
    # The transport's queues are the process's.
    for name in QUEUES:
        messages_of(celery, name)
    celery.close()


@pytest.fixture
def rung() -> list[bool]:
    return []


@pytest.fixture
def doorbell(celery: Celery, rung: list[bool]) -> Doorbell:
    return Doorbell(celery, on_ring=rung.append)


def messages_of(celery: Celery, queue_name: str) -> list[tuple[str, Any]]:
    """Task and arguments of each, in the order of sending."""
    found = []
    with celery.connection_for_read() as connection, connection.SimpleQueue(queue_name) as waiting:
        while waiting.qsize():
            message = waiting.get(block=False)
            message.ack()
            found.append((message.headers["task"], message.payload[1]))
    return found


async def test_each_kind_of_job_is_rung_for_with_its_own_task_in_its_own_queue(
    celery: Celery, doorbell: Doorbell, rung: list[bool]
) -> None:
    tasks = doorbell.bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id")
    steps = doorbell.bell(task=PROCESS_STEP, queue_name=WORKFLOW_QUEUE, argument="step_id")
    executions = doorbell.bell(task=DRIVE_EXECUTION, queue_name=WORKFLOW_QUEUE, argument="execution_id")

    for number, bell in enumerate((steps, tasks, executions, steps)):
        bell.ring(f"job-{number}")
    doorbell.close(patience=PATIENCE)

    depths = [await steps.measure_depth(), await tasks.measure_depth(), await doorbell.measure_depth()]
    assert depths == [3, 1, 4]
    assert messages_of(celery, TASK_QUEUE) == [(PROCESS_TASK, {"task_id": "job-1"})]
    assert messages_of(celery, WORKFLOW_QUEUE) == [
        (PROCESS_STEP, {"step_id": "job-0"}),
        (DRIVE_EXECUTION, {"execution_id": "job-2"}),
        (PROCESS_STEP, {"step_id": "job-3"}),
    ]
    assert rung == [True] * 4


async def test_a_stage_of_the_work_is_rung_for_in_a_queue_of_its_own(celery: Celery, doorbell: Doorbell) -> None:
    stages = {Stage.EVALUATION: Place(EVALUATE_TASK, EVALUATION_QUEUE)}
    bell = doorbell.bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id", stages=stages)

    bell.ring("job-1", Stage.EVALUATION)
    bell.ring("job-1")
    doorbell.close(patience=PATIENCE)

    assert await bell.measure_depth() == 2
    assert messages_of(celery, EVALUATION_QUEUE) == [(EVALUATE_TASK, {"task_id": "job-1"})]
    assert messages_of(celery, TASK_QUEUE) == [(PROCESS_TASK, {"task_id": "job-1"})]


async def test_while_the_broker_takes_nothing_every_bell_says_so(celery: Celery, rung: list[bool]) -> None:
    class Deaf(Doorbell):
        def _send(self, ring: Any, producer: Any) -> None:
            raise ConnectionError("away")

    doorbell = Deaf(celery, on_ring=rung.append)
    steps = doorbell.bell(task=PROCESS_STEP, queue_name=WORKFLOW_QUEUE, argument="step_id")
    tasks = doorbell.bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id")

    steps.ring("job-1")
    doorbell.close(patience=PATIENCE)

    assert (steps.is_answered, tasks.is_answered) == (False, False)
    assert await tasks.measure_depth() is None
    assert rung == [False]


def test_rings_beyond_what_is_kept_are_left_to_the_sweep(celery: Celery, rung: list[bool]) -> None:
    class Stuck(Doorbell):
        def _publish_for_ever(self) -> None:
            """It never gets to publish."""

    bell = Stuck(celery, on_ring=rung.append).bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id")

    for number in range(BUFFERED + 2):
        bell.ring(f"job-{number}")

    assert rung == [False, False]
