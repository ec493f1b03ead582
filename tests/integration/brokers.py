"""The brokers of the broker tests, with the settings for each; those of our own can be killed and started again."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from app.jobs.broker import QUEUES, create_celery
from tests.processes import Server, start_moto, start_valkey

# As a password it must never be seen in a log.
CANARY = "canary-broker-3f9d51aa"
REGION = "eu-central-1"


@dataclass(slots=True)
class Broker:
    """A broker and what `orchestrate up` is told of it."""

    settings: Mapping[str, str]
    start: Callable[[], Server] | None = None
    server: Server | None = None

    def kill(self) -> None:
        assert self.server is not None
        self.server.process.kill()

    def start_again(self) -> None:
        """At the same address, without what it had in memory."""
        assert self.start is not None
        self.server = self.start()

    def celery(self) -> Any:
        """Celery as the API has it, for messages that the API would not send."""
        celery = create_celery(
            "test",
            self.settings["CELERY_BROKER_URL"],
            sqs_queue_url_prefix=self.settings.get("SQS_QUEUE_URL_PREFIX"),
        )
        celery.conf.broker_transport_options |= {"region": REGION}
        return celery

    def stop(self) -> None:
        if self.server is not None:
            self.server.process.stop()


def valkey(folder: Path) -> Broker:
    server = start_valkey(folder)
    url = f"redis://127.0.0.1:{server.port}/0"
    return Broker({"CELERY_BROKER_URL": url}, lambda: start_valkey(folder, port=server.port), server)


def sqs(folder: Path) -> Broker:
    """As in production: the queues are there, and their URLs are told."""
    server = start_moto(folder)
    create_queues(server)
    settings = {
        "CELERY_BROKER_URL": f"sqs://key:{CANARY}@127.0.0.1:{server.port}",
        "SQS_QUEUE_URL_PREFIX": f"{server.http_url}/123456789012/test-",
        "AWS_DEFAULT_REGION": REGION,
    }

    def start() -> Server:
        again = start_moto(folder, port=server.port)
        create_queues(again)
        return again

    return Broker(settings, start, server)


def create_queues(server: Server) -> None:
    client = boto3.client(
        "sqs",
        endpoint_url=server.http_url,
        region_name=REGION,
        aws_access_key_id="key",
        aws_secret_access_key=CANARY,
    )
    for name in QUEUES:
        client.create_queue(QueueName=f"test-{name}", Attributes={"VisibilityTimeout": "300"})
    client.close()


def rabbitmq(_: Path) -> Broker:
    return Broker({"CELERY_BROKER_URL": os.environ["TEST_RABBITMQ_URL"]})


BROKERS = {"valkey": valkey, "sqs": sqs, "rabbitmq": rabbitmq}


@contextmanager
def running_broker(name: str, folder: Path) -> Iterator[Broker]:
    broker = BROKERS[name](folder)
    try:
        yield broker
    finally:
        broker.stop()
