"""A load generator that costs little itself: raw HTTP/1.1 over a few keep-alive connections."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import uvloop

from app.devstack.probes import LOOPBACK
from tests.bench.process import BenchFailed

NO_OP: Mapping[str, object] = {"task": "ping", "agent": "EchoAgent"}
CODE_CALL: Mapping[str, object] = {
    "task": "Write a Python function that reverses a string. [[sim latency=2.0]]",
    "agent": "CodeAgent",
}
LONGEST_WAIT = 30
PATIENCE = 120.0
ACCEPTED = 202


@dataclass(slots=True)
class Load:
    """What one burst of POSTs took, as its client saw it."""

    began_at: datetime
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, q: float) -> float:
        """Milliseconds."""
        return quantile(self.latencies, q) * 1000


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)]


def submit(port: int, task: Mapping[str, object], *, count: int, connections: int, wait: bool = False) -> Load:
    """POST the task ``count`` times, each connection one after the other; with ``wait`` until each is completed."""
    return send(port, execute_request(task, wait=wait), count=count, connections=connections, completed=wait)


def send(port: int, request: bytes, *, count: int, connections: int, completed: bool = False) -> Load:
    """Send what is accepted for later, ``count`` times; with ``completed`` each is to be done when it is answered."""
    return uvloop.run(_send(port, request, count, connections, completed=completed))


async def _send(port: int, request: bytes, count: int, connections: int, *, completed: bool) -> Load:
    todo = iter(range(count))
    streams = [await asyncio.open_connection(LOOPBACK, port) for _ in range(connections)]
    load, began = Load(datetime.now(UTC)), time.perf_counter()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in todo:
            sent = time.perf_counter()
            writer.write(request)
            check_answer(*await read_answer(reader), completed=completed)
            load.latencies.append(time.perf_counter() - sent)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(work(*stream) for stream in streams))
    load.seconds = time.perf_counter() - began
    for _, writer in streams:
        writer.close()
    return load


def execute_request(task: Mapping[str, object], *, wait: bool) -> bytes:
    return post("/v1/agent/execute", task, wait=wait)


def post(path: str, content: Mapping[str, object], *, wait: bool = False) -> bytes:
    body = json.dumps(content).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {LOOPBACK}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Prefer: wait={LONGEST_WAIT}"] if wait else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))


def check_answer(status: int, body: bytes, *, completed: bool) -> None:
    if status != ACCEPTED or (completed and json.loads(body)["status"] != "completed"):
        raise BenchFailed(f"the API answered {status}: {body[:300].decode(errors='replace')}")
