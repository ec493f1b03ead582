"""Kombu's SQS transport for a service that is away now and then. Imported by its name, only where SQS is the broker.

In kombu 5.7 one answer to a poll other than 200 (a timeout, a 503, a throttled request) ends the whole worker.
"""

from typing import Any

import structlog
from botocore.exceptions import ClientError
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS

log = structlog.get_logger(__name__)


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
