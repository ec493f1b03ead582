"""The messages of the broker, seen and changed past the product: taken, copied, reordered, forged."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis

from app.ids import new_id
from app.jobs.broker import PROCESS_TASK, TASK_QUEUE, create_celery
from tests.processes import Server

Json = dict[str, Any]


class Messages:
    """What waits in the queue of a broker, as the broker holds it."""

    def __init__(self, broker: Server) -> None:
        self._url = broker.redis_url()
        # Its methods have no types.
        self._redis: Any = Redis(port=broker.port)

    def command(self, *words: str | int) -> None:
        self._redis.execute_command(*words)

    def count(self) -> int:
        return int(self._redis.execute_command("LLEN", TASK_QUEUE))

    def take_all(self) -> list[bytes]:
        """Nothing is left in the queue; only while nobody else takes from it."""
        found: list[bytes] = self._redis.execute_command("LRANGE", TASK_QUEUE, 0, -1)
        self._redis.execute_command("DEL", TASK_QUEUE)
        return found

    def put(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self._redis.execute_command("LPUSH", TASK_QUEUE, message)

    def send(self, arguments: Json, *, task: str = PROCESS_TASK) -> None:
        """As Celery does it, with arguments that the product would not send."""
        body = json.dumps(([], arguments, {})).encode()
        self.send_raw(body, task=task, content_type="application/json", content_encoding="utf-8")

    def send_raw(self, body: bytes, *, task: str = PROCESS_TASK, **properties: str) -> None:
        celery = create_celery("forger", self._url)
        headers = {"lang": "py", "task": task, "id": new_id()}
        with celery.connection_for_write() as connection, connection.Producer() as producer:
            producer.publish(body, exchange="", routing_key=TASK_QUEUE, headers=headers, **properties)

    def close(self) -> None:
        self._redis.close()


@contextmanager
def messages_of(broker: Server) -> Iterator[Messages]:
    messages = Messages(broker)
    try:
        yield messages
    finally:
        messages.close()
