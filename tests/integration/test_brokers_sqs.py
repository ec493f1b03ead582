"""The doorbell on SQS: a queue of its own making, and an AWS that does not answer."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import boto3
import pytest

from app.jobs.broker import PROCESS_TASK, TASK_QUEUE, create_celery
from app.jobs.doorbell import Bell, Doorbell
from tests.integration.brokers import CANARY, REGION
from tests.processes import Server, start_moto

pytestmark = pytest.mark.slow


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[Server]:
    server = start_moto(tmp_path)
    yield server
    server.process.signal(signal.SIGCONT)
    server.process.stop()


@pytest.fixture
async def bell(moto: Server) -> AsyncIterator[Bell]:
    celery = create_celery("test", f"sqs://key:{CANARY}@127.0.0.1:{moto.port}")
    celery.conf.broker_transport_options |= {"region": REGION}
    doorbell = Doorbell(celery, on_ring=lambda rung: None)
    yield doorbell.bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id")
    doorbell.close(patience=0)
    celery.close()


async def test_a_queue_that_is_not_there_is_created_as_the_product_needs_it(bell: Bell, moto: Server) -> None:
    for number in range(3):
        bell.ring(f"job-{number}")
    await soon(lambda: has_depth(bell, 3))

    attributes = await asyncio.to_thread(attributes_of_queue, moto, TASK_QUEUE)
    dead_letters = await asyncio.to_thread(attributes_of_queue, moto, f"{TASK_QUEUE}-dlq")
    assert attributes["VisibilityTimeout"] == "300"
    assert attributes["ReceiveMessageWaitTimeSeconds"] == "3"
    assert attributes["MessageRetentionPeriod"] == "86400"
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": dead_letters["QueueArn"],
        "maxReceiveCount": 5,
    }
    assert dead_letters["MessageRetentionPeriod"] == "1209600"
    assert bell.is_answered


async def test_while_sqs_does_not_answer_nobody_waits_for_it_and_what_was_rung_is_sent_later(
    bell: Bell, moto: Server
) -> None:
    bell.ring("before")
    await soon(lambda: has_depth(bell, 1))

    moto.process.signal(signal.SIGSTOP)
    bell.ring("during")
    depth = await bell.measure_depth()
    moto.process.signal(signal.SIGCONT)

    assert depth is None
    await soon(lambda: has_depth(bell, 2))


async def has_depth(bell: Bell, depth: int) -> bool:
    return await bell.measure_depth() == depth


async def soon(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await look():  # noqa: ASYNC110 - nothing announces what SQS has
            await asyncio.sleep(0.02)


def attributes_of_queue(moto: Server, name: str) -> dict[str, str]:
    client = boto3.client(
        "sqs",
        endpoint_url=moto.http_url,
        region_name=REGION,
        aws_access_key_id="key",
        aws_secret_access_key=CANARY,
    )
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    found: dict[str, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    client.close()
    return found
