"""The worker's consumer: back at the broker within seconds, and nothing declared that nobody uses."""

from typing import Any, Self

from celery.worker.consumer import Consumer

from app.jobs.broker import create_celery
from worker.consumer import LeanConsumer


class Connecting:
    """Stands for kombu's connection: notes how it is to try, and is connected."""

    def ensure_connection(self, *_: object, **pauses: Any) -> Self:
        self.pauses = pauses
        return self


def test_a_worker_tries_its_broker_every_five_seconds_however_long_it_was_away() -> None:
    consumer, connection = LeanConsumer.__new__(LeanConsumer), Connecting()
    consumer.app = create_celery("test", "redis://127.0.0.1")

    consumer.ensure_connected(connection)

    assert connection.pauses["interval_max"] == 5
    assert connection.pauses["interval_start"] <= 5


def test_of_celerys_steps_only_delayed_delivery_is_left_out() -> None:
    left_out = set(Consumer.Blueprint.default_steps) - set(LeanConsumer.Blueprint.default_steps)

    assert left_out == {"celery.worker.consumer.delayed_delivery:DelayedDelivery"}
