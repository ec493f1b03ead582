"""The queues on SQS and their dead-letter queues. Imported by its name, only where SQS is the broker."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from kombu.transport.SQS import DoesNotExistQueueException

from app.jobs.broker import QUEUES, create_celery
from app.jobs.broker_queues import connected
from app.jobs.queues import NoDeadLetterQueue, QueueProblem, QueueState, Redriven
from app.jobs.sqs import LONG_POLL, MAX_RECEIVES

BATCH = 10
# In seconds. A look at a queue that is read at one of many servers may find nothing without waiting.
WAIT = 1
HIDDEN = 60
MOVE_PATIENCE = 60.0
MOVE_POLL = 1.0
SHORTEST_VISIBILITY, LONGEST_VISIBILITY = 60, 900
FEWEST_RECEIVES = 3
HOW_TO = "docs/how-to/run-on-aws-queues.md"
_COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
_SHAPE = ["QueueArn", "RedrivePolicy", "VisibilityTimeout", "ReceiveMessageWaitTimeSeconds"]

Attributes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SqsQueue:
    """One queue, with what was found out about it."""

    name: str
    url: str
    client: Any
    attributes: Attributes

    @property
    def dead_letter_arn(self) -> str | None:
        arn = self._redrive_policy.get("deadLetterTargetArn")
        return str(arn) if arn else None

    @property
    def dead_letter_url(self) -> str:
        """A dead-letter queue is in the account and region of its queue."""
        return f"{self.url.rpartition('/')[0]}/{self.dead_letter_name}"

    @property
    def dead_letter_name(self) -> str:
        return (self.dead_letter_arn or "").rpartition(":")[2]

    @property
    def most_receives(self) -> int:
        return int(self._redrive_policy.get("maxReceiveCount", 0))

    @property
    def _redrive_policy(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.attributes.get("RedrivePolicy") or "{}")
        return found

    def count_dead_letters(self) -> int | None:
        return _count(self.client, self.dead_letter_url, _COUNTS[0]) if self.dead_letter_arn else None


class SqsQueues:
    """Asked as the broker's settings say: with a prefix of the queues' URLs nothing is looked up."""

    def __init__(self, broker_url: str, queue_url_prefix: str | None) -> None:
        self._celery = create_celery("queues", broker_url, sqs_queue_url_prefix=queue_url_prefix)

    def list_states(self) -> list[QueueState]:
        with connected(self._celery) as connection:
            found = {queue.name: _state_of(queue) for queue in _find(connection.channel(), [*_COUNTS, *_SHAPE])}
        return [found.get(name, QueueState(name, None)) for name in QUEUES]

    def list_problems(self) -> list[QueueProblem]:
        with connected(self._celery) as connection:
            return [problem for queue in _find(connection.channel(), _SHAPE) for problem in problems_of(queue)]

    def redrive(self, names: Sequence[str], *, most: int | None = None, is_dry: bool = False) -> list[Redriven]:
        moved: list[Redriven] = []
        with connected(self._celery) as connection:
            queues = {queue.name: queue for queue in _find(connection.channel(), _SHAPE) if queue.name in names}
            _must_have_dead_letters(names, queues)
            for queue in queues.values():
                left = None if most is None else most - sum(one.moved for one in moved)
                moved.append(_redrive(queue, left, is_dry=is_dry))
        return moved


def problems_of(queue: SqsQueue) -> Iterator[QueueProblem]:
    """What is wrong with the queue, going by its attributes."""
    visibility = int(queue.attributes.get("VisibilityTimeout", 0))
    if queue.dead_letter_arn is None:
        remedy = f"make one, and set RedrivePolicy with maxReceiveCount {MAX_RECEIVES}: {HOW_TO}"
        yield QueueProblem(queue.name, "has no dead-letter queue: what nobody can read comes again and again", remedy)
    elif queue.most_receives < FEWEST_RECEIVES:
        finding = f"puts a message aside after {queue.most_receives} receives, though it may only wait for a free slot"
        yield QueueProblem(queue.name, finding, f"set maxReceiveCount {MAX_RECEIVES} in RedrivePolicy: {HOW_TO}")
    if not SHORTEST_VISIBILITY <= visibility <= LONGEST_VISIBILITY:
        finding = f"has a visibility timeout of {visibility} s: short ones repeat messages, long ones hide them"
        yield QueueProblem(queue.name, finding, f"set VisibilityTimeout to 300: {HOW_TO}")
    if queue.attributes.get("ReceiveMessageWaitTimeSeconds", "0") == "0":
        remedy = f"set ReceiveMessageWaitTimeSeconds to {LONG_POLL}: {HOW_TO}"
        yield QueueProblem(queue.name, "answers polls at once where the reader does not say how long to wait", remedy)


def _find(channel: Any, attributes: Sequence[str]) -> Iterator[SqsQueue]:
    """Those that are there; without a prefix a queue may not have been made yet."""
    for name in QUEUES:
        try:
            client, url = channel.address_of(name)
        except DoesNotExistQueueException:
            continue
        answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=list(attributes))
        yield SqsQueue(name, url, client, answer.get("Attributes", {}))


def _state_of(queue: SqsQueue) -> QueueState:
    waiting, in_flight = (int(queue.attributes[name]) for name in _COUNTS)
    return QueueState(queue.name, waiting, in_flight, queue.dead_letter_name or None, queue.count_dead_letters())


def _count(client: Any, url: str, attribute: str) -> int:
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])
    return int(answer["Attributes"][attribute])


def _must_have_dead_letters(names: Sequence[str], queues: Mapping[str, SqsQueue]) -> None:
    """Before anything is moved: afterwards nobody would be told how much that was."""
    without = [name for name in names if name not in queues or queues[name].dead_letter_arn is None]
    if without:
        told = ", ".join(without)
        raise NoDeadLetterQueue(f"no dead-letter queue of {told}: {HOW_TO} says how to make one, or name another queue")


def _redrive(queue: SqsQueue, most: int | None, *, is_dry: bool) -> Redriven:
    if is_dry:
        there = queue.count_dead_letters() or 0
        return Redriven(queue.name, there if most is None else min(there, most), is_dry=True)
    if most is None and (redriven := let_sqs_move(queue)):
        return redriven
    return Redriven(queue.name, sum(_move_by_hand(queue, most)))


def let_sqs_move(queue: SqsQueue, *, pause: float = MOVE_POLL) -> Redriven | None:
    """Moved by SQS itself, all there are; None where that is not offered, is under way already, or failed."""
    source = queue.dead_letter_arn
    try:
        queue.client.start_message_move_task(SourceArn=source, DestinationArn=queue.attributes["QueueArn"])
    except (ClientError, BotoCoreError):
        return None
    ends_at = time.monotonic() + MOVE_PATIENCE
    while (move := _newest_move(queue.client, source))["Status"] == "RUNNING" and time.monotonic() < ends_at:
        time.sleep(pause)
    if move["Status"] == "FAILED":
        return None
    moved = int(move.get("ApproximateNumberOfMessagesMoved", 0))
    return Redriven(queue.name, moved, is_going_on=move["Status"] == "RUNNING")


def _newest_move(client: Any, source: str | None) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = client.list_message_move_tasks(SourceArn=source, MaxResults=1)["Results"]
    # What was just begun may not be listed yet.
    return found[0] if found else {"Status": "RUNNING"}


def _move_by_hand(queue: SqsQueue, most: int | None) -> Iterator[int]:
    """Numbers of messages that were sent and then deleted: whoever dies in between leaves both, never none."""
    left = most
    while left is None or left > 0:
        received = queue.client.receive_message(
            QueueUrl=queue.dead_letter_url,
            MaxNumberOfMessages=BATCH if left is None else min(BATCH, left),
            WaitTimeSeconds=WAIT,
            VisibilityTimeout=HIDDEN,
        ).get("Messages", [])
        if not received:
            return
        moved = _pass_on(queue, received)
        left = None if left is None else left - moved
        yield moved


def _pass_on(queue: SqsQueue, messages: Sequence[Mapping[str, Any]]) -> int:
    # All that kombu says is in the body.
    entries = [{"Id": str(number), "MessageBody": one["Body"]} for number, one in enumerate(messages)]
    sent = queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries).get("Successful", [])
    taken = [{"Id": one["Id"], "ReceiptHandle": messages[int(one["Id"])]["ReceiptHandle"]} for one in sent]
    if taken:
        queue.client.delete_message_batch(QueueUrl=queue.dead_letter_url, Entries=taken)
    return len(taken)
