"""The queues of Redis and RabbitMQ as an operator sees them, and the connection to ask any broker by."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery

from app.jobs.broker import QUEUES, create_celery
from app.jobs.doorbell import depth_of
from app.jobs.queues import BrokerUnavailable, NoDeadLetterQueue, QueueProblem, QueueState, Redriven

_RETRY = {"max_retries": 1, "interval_start": 0.2}


class BrokerQueues:
    """On Redis and RabbitMQ, which only tell what waits."""

    def __init__(self, broker_url: str) -> None:
        self._celery = create_celery("queues", broker_url)

    def list_states(self) -> list[QueueState]:
        with connected(self._celery) as connection:
            return [QueueState(name, depth_of(connection, name)) for name in QUEUES]

    def list_problems(self) -> list[QueueProblem]:
        return []

    def redrive(
        self,
        names: Sequence[str],
        *,
        most: int | None = None,  # noqa: ARG002
        is_dry: bool = False,  # noqa: ARG002
    ) -> list[Redriven]:
        raise NoDeadLetterQueue(
            "only SQS has dead-letter queues here; what a lost message was about is rung again by itself, and tasks "
            "that failed for good are queued again with `orchestrate dead-letters redrive`",
            queues=list(names),
        )


@contextmanager
def connected(celery: Celery) -> Iterator[Any]:
    """A connection of kombu's; what goes wrong with it is raised as `BrokerUnavailable`."""
    with celery.connection_for_read() as connection:
        try:
            connection.ensure_connection(**_RETRY, reraise_as_library_errors=False)
            yield connection
        except (*connection.connection_errors, *connection.channel_errors) as error:
            raise BrokerUnavailable(f"the broker cannot be asked: {_name_of(error)}") from error


def _name_of(error: Any) -> str:
    """Of a refusal by AWS its code: its text would name the account."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return f"it answers {code}" if code else type(error).__name__
