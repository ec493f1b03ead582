"""Kombu's SQS transport for a service that is away now and then. Imported by its name, only where SQS is the broker.

In kombu 5.7 one answer to a poll other than 200 (a timeout, a 503, a throttled request) ends the whole worker.
"""

import json
from datetime import timedelta
from typing import Any

import structlog
from botocore.exceptions import ClientError
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS

log = structlog.get_logger(__name__)

DEAD_LETTER_SUFFIX = "-dlq"
# Each receive is a visibility timeout in which no worker had a free slot, or somebody died.
MAX_RECEIVES = 5
# In seconds, as the polls have it, for whoever else reads the queue.
LONG_POLL = 3
# What is older has been repeated long since.
RETENTION = timedelta(days=1)
# Counted from the first sending, so it has to be the longer one; the longest that there is.
DEAD_LETTER_RETENTION = timedelta(days=14)


class Polling(AsyncSQSConnection):  # type: ignore[misc]
    """Takes a poll that failed for an empty one; the next follows after the polling interval."""

    def __init__(self, sqs_connection: Any) -> None:
        super().__init__(sqs_connection)
        self._answers = True

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Any:
        answers = response.status == self.STATUS_CODE_OK
        if answers != self._answers:
            self._answers = answers
            # The body would name the queue and the account.
            log.log(
                20 if answers else 30, "sqs.answers_again" if answers else "sqs.poll_failed", status=response.status
            )
        return super()._on_list_ready(parent, markers, operation, response) if answers else {}


class Channel(SQS.Channel):  # type: ignore[misc]
    _polling: Polling | None = None

    def _get_from_sqs(
        self, queue_name: str, queue_url: str, connection: AsyncSQSConnection, count: int = 1, callback: Any = None
    ) -> Any:
        self._polling = self._polling or Polling(connection.sqs_connection)
        return super()._get_from_sqs(queue_name, queue_url, self._polling, count, callback)

    def address_of(self, queue: str) -> tuple[Any, str]:
        """The client of this queue and its URL; raises what a passive declaration raises."""
        return self.sqs(queue=self.canonical_queue_name(queue)), self._resolve_queue_url(queue)

    def _create_queue(self, queue_name: str, attributes: dict[str, str]) -> Any:
        """With a dead-letter queue, made first: two processes that do this at the same time do the same."""
        dead_letters = {"MessageRetentionPeriod": _seconds(DEAD_LETTER_RETENTION)}
        made = super()._create_queue(queue_name + DEAD_LETTER_SUFFIX, dead_letters)
        asked = self.sqs().get_queue_attributes(QueueUrl=made["QueueUrl"], AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
        wanted = {
            "MessageRetentionPeriod": _seconds(RETENTION),
            "ReceiveMessageWaitTimeSeconds": str(LONG_POLL),
            "RedrivePolicy": json.dumps(redrive),
        }
        return super()._create_queue(queue_name, {**attributes, **wanted})


class Transport(SQS.Transport):  # type: ignore[misc]
    Channel = Channel
    # What SQS refuses, for want of a right or by throttling, is tried again like what it does not answer.
    connection_errors = (*SQS.Transport.connection_errors, ClientError)

    def establish_connection(self) -> Any:
        """Connected means that SQS answers; kombu takes it for granted, and fails later, again and again."""
        connection = super().establish_connection()
        for channel in self._avail_channels:
            for queue in channel.predefined_queues:
                channel.queue_declare(queue, passive=True)
        return connection


def _seconds(time: timedelta) -> str:
    return str(int(time.total_seconds()))
