"""The main job, and what can go wrong with messages, over each broker: real processes, real messages.

RabbitMQ is tested where there is one: set TEST_RABBITMQ_URL, and let no other test process use its queue.
"""

import json
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from kombu.pools import producers

from app.devstack.ports import free_ports
from app.ids import new_id
from app.jobs.broker import PROCESS_TASK, TASK_QUEUE
from tests.integration.brokers import BROKERS, CANARY, REGION, Broker, running_broker
from tests.processes import Process, Server, is_gone, module, start, until
from tests.scenarios.stack import Stack, reasons, running_stack

pytestmark = pytest.mark.slow

FUNCTION = "Write a Python function that reverses a string."
SLOW_FUNCTION = f"{FUNCTION} [[sim latency=1 role=router]]"
SLOTS = 4
PROBE_STARTS_WITHIN = 10.0
# Without waiting for a poll of SQS, which takes three seconds, nor for the supervisor, who kills after six.
STOPS_WITHIN = 5.0
# Longer than the scenarios' lease: nobody may lose it here because the machine is busy.
CALM = {"WORKER_SLOTS": str(SLOTS), "LEASE_SEC": "4", "HEARTBEAT_SEC": "0.5"}
Json = dict[str, Any]


@pytest.fixture(
    scope="module",
    # SQS takes the longest to start.
    params=[pytest.param(name, marks=[pytest.mark.long] if name == "sqs" else []) for name in BROKERS],
)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if request.param == "rabbitmq" and "TEST_RABBITMQ_URL" not in os.environ:
        pytest.skip("no RabbitMQ: set TEST_RABBITMQ_URL=amqp://...")
    with running_broker(request.param, tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def shared_stack(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, **CALM, **broker.settings) as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: Stack) -> Iterator[Stack]:
    """The stack, in which a task is done within the usual time before and after the test."""
    assert shared_stack.run(FUNCTION)["status"] == "completed"
    yield shared_stack
    assert shared_stack.run(FUNCTION)["status"] == "completed"


def test_a_task_is_done_and_the_queue_is_empty_again(stack: Stack, broker: Broker) -> None:
    tasks = [stack.submit(FUNCTION) for _ in range(10)]

    ended = [stack.final(task_id) for task_id in tasks]

    assert {task["status"] for task in ended} == {"completed"}
    assert {tuple(reasons(task)) for task in ended} == {("accepted", "claimed", "finished")}
    until(lambda: queue_length(stack) == 0, "the API sees an empty queue")


@pytest.mark.long
def test_a_task_whose_worker_is_killed_is_done_once_by_the_next_one(stack: Stack) -> None:
    task_id = stack.submit(SLOW_FUNCTION)
    stack.waits_for_the_model(task_id)

    stack.kill("worker-1")
    task = stack.final(task_id, patience=30)

    assert task["status"] == "completed"
    assert reasons(task)[:4] == ["accepted", "claimed", "worker_lost", "claimed"]
    assert reasons(task).count("finished") == 1


def test_a_message_that_comes_often_makes_a_task_run_once(stack: Stack, broker: Broker) -> None:
    done = stack.run(FUNCTION)
    running = stack.submit(SLOW_FUNCTION)
    stack.waits_for_the_model(running)

    for task_id in (done["task_id"], running) * 3:
        send(broker, {"task_id": task_id})
    until(lambda: queue_length(stack) == 0, "the duplicates were taken")
    ended = stack.final(running)

    assert reasons(ended) == ["accepted", "claimed", "finished"]
    assert stack.read(done["task_id"]) == done


@pytest.mark.long
def test_a_worker_told_to_stop_while_it_polls_goes_at_once_and_the_next_one_gets_the_work(stack: Stack) -> None:
    old = stack.kill("worker-1", signal.SIGTERM)
    task_id = stack.submit(FUNCTION)
    until(lambda: is_gone(old), "the worker has gone", patience=STOPS_WITHIN)
    task = stack.final(task_id)

    assert task["status"] == "completed"
    assert "worker_lost" not in reasons(task)


def test_a_forged_message_is_refused_and_the_worker_lives_on(stack: Stack, broker: Broker, tmp_path: Path) -> None:
    worker, touched = stack.pid_of("worker-1"), tmp_path / "executed"
    pickled = pickle.dumps(([], {"task_id": Touch(touched)}, {}))

    send_raw(broker, pickled, content_type="application/x-python-serialize", content_encoding="binary")
    send_raw(broker, b"\x80\x04not json at all", content_type="application/json", content_encoding="utf-8")
    send(broker, {"task_id": "../../etc/passwd"})
    send(broker, {"task_id": {"$gt": ""}})
    send(broker, {"task_id": new_id()})
    send(broker, {"task_id": new_id()}, task="celery.backend_cleanup_of_mine")
    send(broker, {"somebody": "else"})
    until(lambda: queue_length(stack) == 0, "all of them were taken")
    task = stack.run(FUNCTION)

    assert task["status"] == "completed"
    assert stack.pid_of("worker-1") == worker
    assert not touched.exists()
    until(lambda: stack.logs().count("worker.refused_id") == 2, "the two of another form were refused")


@pytest.mark.long
def test_a_full_worker_takes_work_again_after_the_broker_was_killed_under_it(stack: Stack, broker: Broker) -> None:
    if broker.server is None:
        pytest.skip("this broker is not ours to kill")
    worker = stack.pid_of("worker-1")
    for _ in range(2):
        # Every slot runs a task, every thread of Celery waits with one, and more are in the queue.
        tasks = [stack.submit(SLOW_FUNCTION) for _ in range(3 * SLOTS)]
        until(lambda: stack.calls_in_progress() == SLOTS, "every slot is taken")

        broker.kill()
        # Celery's tasks end while the broker is away; acknowledged late they were seen to stall the worker for ever.
        until(lambda t=tasks: ended(stack, t) >= SLOTS, "slots became free during the outage")  # type: ignore[misc]
        broker.start_again()
        back_at = time.monotonic()
        probe = stack.submit(FUNCTION)
        until(lambda p=probe: stack.read(p)["status"] != "queued", "the probe starts", patience=30)  # type: ignore[misc]

        assert time.monotonic() - back_at < PROBE_STARTS_WITHIN
        assert {stack.final(task_id, patience=30)["status"] for task_id in (*tasks, probe)} == {"completed"}
        assert {stack.read(task_id)["attempt"] for task_id in tasks} == {1}
    assert stack.pid_of("worker-1") == worker


def test_the_brokers_password_is_in_no_log(stack: Stack) -> None:
    assert CANARY not in stack.logs()


@pytest.mark.long
def test_a_worker_that_cannot_reach_its_broker_keeps_the_password_to_itself_and_stops_when_told(
    store: Server, tmp_path: Path
) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    urls = [f"redis://:{CANARY}@{nobody}/0", f"amqp://user:{CANARY}@{nobody}//", f"sqs://key:{CANARY}@{nobody}"]

    workers = [start_worker(store, tmp_path, url) for url in urls]
    try:
        for worker in workers:
            worker.says("Cannot connect to .*redacted", patience=40)
            worker.signal(signal.SIGTERM)
        codes = [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            worker.stop()

    assert codes == [0, 0, 0]
    assert not [worker.name for worker in workers if CANARY in worker.read()]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def start_worker(store: Server, folder: Path, broker_url: str) -> Process:
    environment = {
        "MONGO_URI": store.mongo_uri,
        "MONGO_DB_NAME": f"test_{uuid4().hex}",
        "CELERY_BROKER_URL": broker_url,
        "AWS_DEFAULT_REGION": REGION,
        "REDIS_URL": "none",
        "OPENAI_API_KEY": "unused",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "WEB_SEARCH_PROVIDER": "none",
    }
    return start(f"worker-{urlsplit(broker_url).scheme}", module("worker"), folder=folder, environment=environment)


def queue_length(stack: Stack) -> int:
    length = stack.client.get("/v1/system/metrics").json()["queue_length"]
    assert length is None or isinstance(length, int)
    return -1 if length is None else length


def ended(stack: Stack, task_ids: list[str]) -> int:
    return sum(stack.read(task_id)["status"] == "completed" for task_id in task_ids)


def send(broker: Broker, arguments: Json, *, task: str = PROCESS_TASK) -> None:
    body = json.dumps(([], arguments, {})).encode()
    send_raw(broker, body, task=task, content_type="application/json", content_encoding="utf-8")


def send_raw(broker: Broker, body: bytes, *, task: str = PROCESS_TASK, **properties: str) -> None:
    celery = broker.celery()
    headers = {"lang": "py", "task": task, "id": new_id()}
    with celery.connection_for_write() as connection, producers[connection].acquire(block=True) as producer:
        producer.publish(
            body,
            exchange="",
            routing_key=TASK_QUEUE,
            declare=[celery.amqp.queues[TASK_QUEUE]],
            headers=headers,
            **properties,
        )
