"""Graphs that count what they do and fail when told to, and the threads that their state is saved in."""

import asyncio
import operator
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from app.artifacts.store import ArtifactStore
from app.checkpoints.models import Ledger, ThreadKey
from app.checkpoints.saver import MongoSaver
from app.checkpoints.serde import StrictSerializer
from app.checkpoints.service import Checkpoints
from app.checkpoints.thread import Thread
from app.clock import Clock
from app.database.documents import Database, Documents
from tests.job_builders import TENANT, FakeClock

TTL = timedelta(hours=168)
THREAD = "task-1/0/TestAgent"
CONFIG: Any = {"configurable": {"thread_id": THREAD}}
MEBIBYTE = 1024 * 1024


class State(TypedDict, total=False):
    task: str
    done: Annotated[list[str], operator.add]
    big: str


class NodeFailed(Exception):
    """What a node was told to raise."""


Does = Callable[[], Awaitable[Any]]


@dataclass
class Script:
    """What the nodes do, by name: nothing but being counted, unless it is told otherwise."""

    calls: Counter[str] = field(default_factory=Counter)
    does: dict[str, Does] = field(default_factory=dict)

    def node(self, name: str) -> Any:
        async def run(_: State) -> dict[str, Any]:
            self.calls[name] += 1
            written = await self.does[name]() if name in self.does else None
            return {"done": [name], **(written or {})}

        return run


async def fail() -> None:
    raise NodeFailed


@dataclass
class Gate:
    """A node that waits, as one whose process is about to die does."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    may_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.entered.set()
        await self.may_go.wait()


def a_chain(script: Script, names: Iterable[str]) -> StateGraph[State]:
    """The nodes one after the other."""
    graph = StateGraph(State)
    before = START
    for name in names:
        graph.add_node(name, script.node(name))
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


def a_fan(script: Script, names: Iterable[str]) -> StateGraph[State]:
    """`plan`, then the nodes at the same time, then `join`."""
    graph = StateGraph(State)
    graph.add_node("plan", script.node("plan"))
    graph.add_node("join", script.node("join"))
    graph.add_edge(START, "plan")
    for name in names:
        graph.add_node(name, script.node(name))
        graph.add_edge("plan", name)
        graph.add_edge(name, "join")
    graph.add_edge("join", END)
    return graph


def the_checkpoints(database: Database, folder: Path, *, clock: Clock | None = None) -> Checkpoints:
    documents = Documents(database["checkpoints"])
    return Checkpoints(documents, ArtifactStore(str(folder)), ttl=TTL, clock=clock or FakeClock())


@dataclass
class Attempts:
    """Runs a graph as attempt after attempt does, each with a saver and a fence of its own."""

    checkpoints: Checkpoints
    tenant_id: str = TENANT
    thread_id: str = THREAD

    def saver(
        self, fence: int, *, is_new: bool = False, defers_input: bool = False, ledger: Ledger | None = None
    ) -> MongoSaver:
        def open_thread(thread_id: str) -> Thread:
            return self.checkpoints.open_thread(ThreadKey(thread_id, self.tenant_id, fence, is_new), ledger=ledger)

        return MongoSaver(open_thread, StrictSerializer(), defers_input=defers_input)

    async def start(self, graph: StateGraph[Any], fence: int, *, given: Any = None) -> Any:
        return await self.run(graph, fence, given=given or {"task": "x"})

    async def run(self, graph: StateGraph[Any], fence: int, *, given: Any = None, saver: Any = None) -> Any:
        """Without anything given the thread goes on where it was."""
        compiled = graph.compile(checkpointer=saver or self.saver(fence))
        config: Any = {"configurable": {"thread_id": self.thread_id}}
        return await compiled.ainvoke(given, config, durability="sync")


def wrote(size: int) -> Does:
    """A node that puts that many bytes into the state."""

    async def write() -> dict[str, str]:
        return {"big": "ä" * (size // 2)}

    return write


def blobs_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def stored(database: Database) -> dict[str, Any]:
    """The one document there is."""
    (found,) = await database["checkpoints"].find().to_list()
    return dict(found)
