"""The broker's queues as an operator sees them: what waits in each, what is under way, what was put aside.

Only the broker is asked; neither an API nor a worker need run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from app.errors import Invalid, Unavailable

log = structlog.get_logger(__name__)


class BrokerUnavailable(Unavailable):
    code = "BROKER_UNAVAILABLE"
    title = "Broker unavailable"


class NoDeadLetterQueue(Invalid):
    code = "NO_DEAD_LETTER_QUEUE"
    title = "No dead-letter queue"


@dataclass(frozen=True, slots=True)
class QueueState:
    """Numbers of messages, each None where this broker cannot say; on SQS they are approximate."""

    name: str
    waiting: int | None
    in_flight: int | None = None
    dead_letter_queue: str | None = None
    dead_letters: int | None = None


@dataclass(frozen=True, slots=True)
class QueueProblem:
    """A queue that somebody else made, not as this product needs it, and what to do about it."""

    queue: str
    finding: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """How many messages went back to the queue; with ``is_dry`` how many would."""

    queue: str
    moved: int
    is_dry: bool = False
    is_going_on: bool = False


class Queues(Protocol):
    """Each call opens a connection of its own, blocks, and raises `BrokerUnavailable`."""

    def list_states(self) -> list[QueueState]: ...

    def list_problems(self) -> list[QueueProblem]: ...

    def redrive(self, names: Sequence[str], *, most: int | None = None, is_dry: bool = False) -> list[Redriven]:
        """Move messages from the dead-letter queues of these queues back, at most so many in all.

        A message may arrive twice, which a conditional claim makes harmless. Raises `NoDeadLetterQueue`.
        """
        ...


def open_queues(broker_url: str, *, sqs_queue_url_prefix: str | None = None) -> Queues:
    """Those of the broker that the URL's scheme names."""
    # By name: Celery takes longer to load than a command that only knows of queues, and boto3 need not be there.
    if urlsplit(broker_url).scheme == "sqs":
        found: Queues = import_module("app.jobs.sqs_queues").SqsQueues(broker_url, sqs_queue_url_prefix)
    else:
        found = import_module("app.jobs.broker_queues").BrokerQueues(broker_url)
    return found


def warn_of_problems(queues: Queues) -> None:
    """Say in the log what is not as it should be; blocks, and never raises for want of a broker."""
    try:
        found = queues.list_problems()
    except BrokerUnavailable as error:
        log.info("queues.not_examined", reason=error.message)
        return
    for problem in found:
        log.warning("queues.unfit", queue=problem.queue, finding=problem.finding, remedy=problem.remedy)
