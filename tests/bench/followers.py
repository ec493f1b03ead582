"""Clients that wait for the first token: of a task over our event stream, and of the simulator asked directly."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from app.agents.prompt import load_prompt
from app.agents.registry import Registry
from app.agents.routing import RoutingDecision, describe
from app.devstack.probes import LOOPBACK
from tests.bench.client import PATIENCE, check_answer, execute_request, read_answer
from tests.bench.process import BenchFailed

FUNCTION = "Write a Python function that reverses a string."
# What stands before the first text and nowhere earlier.
OUR_TOKEN, DIRECT_TOKEN = b"event: token", b'"delta": {"content"'
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_MOST_READ = 2**20


def streamed(directive: str = "") -> Mapping[str, object]:
    return {"task": f"{FUNCTION} {directive}".strip(), "agent": "CodeAgent"}


@dataclass(frozen=True, slots=True)
class Follower:
    """One keep-alive connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def follow(self, task: Mapping[str, object], *, turn: asyncio.Semaphore | None = None) -> float:
        """Seconds from the POST to the first token; returns when the stream has ended."""
        async with turn or nullcontext():
            began = time.perf_counter()
            task_id = await self._submit(task)
        path = f"/v1/tasks/{task_id}/events"
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nLast-Event-ID: 0\r\n\r\n".encode())
        await self.reader.readuntil(OUR_TOKEN)
        first = time.perf_counter() - began
        await self.reader.readuntil(_LAST_CHUNK)
        return first

    async def _submit(self, task: Mapping[str, object]) -> str:
        self.writer.write(execute_request(task, wait=False))
        status, body = await read_answer(self.reader)
        check_answer(status, body, completed=False)
        return str(json.loads(body)["task_id"])

    async def run(self, task: Mapping[str, object]) -> float:
        """Seconds from the POST to the final state."""
        began = time.perf_counter()
        self.writer.write(execute_request(task, wait=True))
        check_answer(*await read_answer(self.reader), completed=True)
        return time.perf_counter() - began

    async def ask(self, request: bytes) -> float:
        """Seconds from the question to the simulator to the first piece of its text."""
        began = time.perf_counter()
        self.writer.write(request)
        await self.reader.readuntil(DIRECT_TOKEN)
        first = time.perf_counter() - began
        await self.reader.readuntil(_LAST_CHUNK)
        return first

    async def ask_whole(self, request: bytes) -> float:
        """Seconds from the question to the simulator to its whole answer."""
        began = time.perf_counter()
        self.writer.write(request)
        await read_answer(self.reader)
        return time.perf_counter() - began

    async def count_pieces(self, request: bytes) -> int:
        self.writer.write(request)
        return (await self.reader.readuntil(_LAST_CHUNK)).count(DIRECT_TOKEN)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Follower]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=_MOST_READ)
    try:
        async with asyncio.timeout(PATIENCE):
            yield Follower(reader, writer)
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise BenchFailed(f"port {port} did not stream a first token and an end") from error
    finally:
        writer.close()


async def follow_at_once(port: int, task: Mapping[str, object], count: int, *, submitting: int) -> list[float]:
    """Seconds to the first token of each task; ``submitting`` are submitted at a time, all followed to their end."""
    turn = asyncio.Semaphore(submitting)

    async def one() -> float:
        async with connected(port) as follower:
            return await follower.follow(task, turn=turn)

    return await asyncio.gather(*(one() for _ in range(count)))


def code_question(directive: str = "") -> bytes:
    """What the CodeAgent would ask, in short."""
    messages = [
        {"role": "system", "content": "You are a programmer. Answer with fenced code."},
        {"role": "user", "content": f"{FUNCTION} {directive}".strip()},
    ]
    return _question({"messages": messages, "stream": True, "stream_options": {"include_usage": True}})


def routing_question() -> bytes:
    """What the router asks."""
    instructions = load_prompt("router").render(agents=describe(Registry().list_routable()))
    schema = {"name": RoutingDecision.__name__, "schema": RoutingDecision.model_json_schema(), "strict": True}
    messages = [{"role": "system", "content": instructions}, {"role": "user", "content": FUNCTION}]
    return _question({"messages": messages, "response_format": {"type": "json_schema", "json_schema": schema}})


def _question(content: Mapping[str, Any]) -> bytes:
    body = json.dumps({"model": "gpt-4o-mini", **content}).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {LOOPBACK}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body
