"""The whole product as real processes in a folder of its own, each of which can be killed, stopped, and started again.

Start, restart and close a world from one thread, the test's: the kernel ends a child with the thread that made it.
"""

import contextlib
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import psutil
from pymongo import MongoClient

from app.devstack.ports import free_ports
from tests.chaos import failpoints
from tests.chaos.client import ChaosClient
from tests.chaos.history import PATH_VARIABLE, Event, HistoryReader
from tests.chaos.proxy import Proxy
from tests.processes import (
    Process,
    Server,
    family_of,
    module,
    start,
    start_simulator,
    start_store,
    start_valkey,
    until,
)
from tests.scenarios.stack import QUICK, orchestrate

Json = dict[str, Any]
Behind = Literal["store", "broker", "simulator"]
DATABASE = "chaos"
HISTORY = "history.jsonl"
# Several processes start at once, on a machine that has other things to do.
SLOW_START = 60.0
# The defaults of the product where they are shorter in `QUICK`.
USUAL = {"LEASE_SEC": "15", "HEARTBEAT_SEC": "4", "SWEEP_SEC": "1", "REDISPATCH_SEC": "8", "RETRY_INITIAL_SEC": "1"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to a process, and to which; times are monotonic."""

    kind: str
    part: str
    pid: int
    at: float


@dataclass(slots=True)
class Part:
    """A worker or an API process, which can be started again after its death."""

    name: str
    argv: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    ready: str
    faults: list[Fault]
    process: Process
    is_altered: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.popen.poll() is None

    def kill(self) -> None:
        self._note("kill")
        self.process.kill()

    def terminate(self) -> None:
        """Ask it to stop; it drains and ends by itself."""
        self._note("terminate")
        self.process.signal(signal.SIGTERM)

    def pause(self) -> None:
        self._note("pause")
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.signal(signal.SIGCONT)

    def wait(self, *, patience: float = 10.0) -> int:
        """Its exit code."""
        return self.process.wait(patience=patience)

    def start(self, **variables: str) -> None:
        """Start it again, with these variables besides; it is ready when this returns."""
        self.begin(**variables)
        self.process.says(self.ready, patience=SLOW_START)

    def begin(self, **variables: str) -> None:
        """Start it again without waiting until it is ready."""
        assert not self.is_alive, f"{self.name} is alive"
        environment = {**self.environment, **variables}
        self.is_altered = bool(variables)
        self.process = start(self.name, self.argv, folder=self.folder, environment=environment)

    def close(self) -> None:
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.signal(signal.SIGCONT)
        self.process.stop()

    def _note(self, kind: str) -> None:
        self.faults.append(Fault(kind, self.name, self.pid, time.monotonic()))


@dataclass(slots=True)
class World:
    """Everything runs when `running_world` answers it, and nothing after that."""

    folder: Path
    store: Server
    broker: Server
    settings: dict[str, str]
    history: HistoryReader
    simulator: Server | None = None
    workers: list[Part] = field(default_factory=list)
    apis: list[Part] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    closing: ExitStack = field(default_factory=ExitStack)

    def events(self, *task_ids: str, kind: str | None = None) -> list[Event]:
        """What the workers told, of these tasks only when any are given."""
        found = self.history.events(*task_ids)
        return [event for event in found if kind is None or event.kind == kind]

    def started(self, task_id: str, *, times: int = 1, patience: float = 20.0) -> Event:
        """The event of the task's handler starting for the n-th time, once there is one."""
        return self.happened(task_id, "start", times=times, patience=patience)

    def happened(self, task_id: str, kind: str, *, times: int = 1, patience: float = 20.0) -> Event:
        found = until(
            lambda: self.events(task_id, kind=kind)[times - 1 :], f"{kind} {times} of {task_id}", patience=patience
        )
        return found[0]

    def start_worker(self, **variables: str) -> Part:
        """One more worker; ``variables`` are settings and `CHAOS_...` of its own."""
        part = self._add(f"worker-{len(self.workers) + 1}", "tests.chaos.worker", "worker.ready", variables)
        self.workers.append(part)
        return part

    def start_api(self, **variables: str) -> Part:
        port = str(free_ports(1)[0])
        variables = {"API_PORT": port, **variables}
        # The last thing it says: it listens.
        part = self._add(f"api-{len(self.apis) + 1}", "tests.chaos.api", "Uvicorn running on", variables)
        self.apis.append(part)
        return part

    def client(self, api: int = 0, *, headers: Mapping[str, str] | None = None) -> ChaosClient:
        """A client with an empty memory, of the API with this place in `apis`."""
        port = self.apis[api].environment["API_PORT"]
        client = ChaosClient(f"http://127.0.0.1:{port}", headers=headers)
        self.closing.callback(client.close)
        return client

    def proxy_to(self, behind: Behind) -> Proxy:
        """A way to the store, the broker or the simulator of its own; hand it to parts with `store_by` and the like."""
        server = {"store": self.store, "broker": self.broker, "simulator": self.simulator}[behind]
        assert server is not None
        proxy = Proxy(server.port)
        self.closing.callback(proxy.close)
        return proxy

    def kill_store(self) -> None:
        self.faults.append(Fault("kill", "store", self.store.process.pid, time.monotonic()))
        self.store.process.kill()

    def restart_store(self) -> None:
        """On the same port and folder; answers when it takes connections again."""
        self.store = _ours(start_store(self.folder, port=self.store.port))

    def kill_broker(self) -> None:
        self.faults.append(Fault("kill", "broker", self.broker.process.pid, time.monotonic()))
        self.broker.process.kill()

    def restart_broker(self) -> None:
        """Empty, on the same port."""
        self.broker = _ours(start_valkey(self.folder, port=self.broker.port))

    def freeze(self, server: Server) -> None:
        """The store or the broker answers nobody, and keeps its connections."""
        self.faults.append(Fault("pause", server.process.name, server.process.pid, time.monotonic()))
        server.process.signal(signal.SIGSTOP)

    def thaw(self, server: Server) -> None:
        server.process.signal(signal.SIGCONT)

    def leave_one_worker(self, failpoint: str) -> Part:
        """One worker, which fails at this point; the others are dead until somebody revives them."""
        for part in self.workers:
            part.kill()
        self.faults.clear()
        self.workers[0].start(**{failpoints.VARIABLE: failpoint})
        return self.workers[0]

    def revive(self) -> list[Part]:
        """Start what died by itself, as a supervisor does, without waiting for it; answers what that was."""
        dead = [part for part in (*self.apis, *self.workers) if not part.is_alive]
        for part in dead:
            part.begin()
        return dead

    def mend(self) -> None:
        """Everything runs again, with the settings it was started with at first."""
        self._mend_servers()
        for part in (*self.apis, *self.workers):
            if part.is_alive:
                part.resume()
            if part.is_altered:
                part.close()
        for part in self.revive():
            part.process.says(part.ready, patience=SLOW_START)

    def _mend_servers(self) -> None:
        for server, restart in ((self.store, self.restart_store), (self.broker, self.restart_broker)):
            if server.process.popen.poll() is None:
                self.thaw(server)
            else:
                restart()

    def documents(self, *task_ids: str) -> dict[str, Json]:
        """The tasks as the store holds them, by id."""
        return self.documents_of("tasks", {"_id": {"$in": list(task_ids)}})

    def documents_of(self, collection: str, where: Json) -> dict[str, Json]:
        with MongoClient[Json](self.store.mongo_uri, tz_aware=True) as client:
            return {one["_id"]: one for one in client[DATABASE][collection].find(where)}

    def change(self, collection: str, update: Json) -> None:
        """Behind the product's back, in every document of the collection."""
        with MongoClient[Json](self.store.mongo_uri, tz_aware=True) as client:
            client[DATABASE][collection].update_many({}, update)

    def verify(self) -> None:
        """What an operator would ask: `orchestrate verify` finds no promise broken."""
        asked = orchestrate("verify", "--json", folder=self.folder, **self.settings)
        assert asked.returncode == 0, asked.stdout + asked.stderr

    def close(self) -> None:
        """Nothing is left; what is ours is killed rather than left behind."""
        pids = [pid for server in (self.store, self.broker) for pid in _family(server.process)]
        for part in (*self.workers, *self.apis):
            if part.is_alive:
                part.process.signal(signal.SIGCONT)
                part.process.signal(signal.SIGTERM)
        for part in (*self.workers, *self.apis):
            part.close()
        self.closing.close()
        for server in (self.simulator, self.broker, self.store):
            if server is not None:
                if server.process.popen.poll() is None:
                    server.process.signal(signal.SIGCONT)
                server.process.stop()
        left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        assert not left, f"left behind: {left}"

    def _add(self, name: str, program: str, ready: str, variables: Mapping[str, str]) -> Part:
        environment = {**self.settings, **variables}
        process = start(name, module(program), folder=self.folder, environment=environment)
        # Once only: what is started again after it died of its failpoint shall live.
        lasting = {name: value for name, value in environment.items() if name != failpoints.VARIABLE}
        part = Part(name, module(program), self.folder, lasting, ready, self.faults, process)
        self.closing.callback(part.close)
        process.says(ready, patience=SLOW_START)
        return part


def store_by(proxy: Proxy) -> dict[str, str]:
    """The settings of a part that reaches its store through the proxy only."""
    return {"MONGO_URI": f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true&retryWrites=false"}


def broker_by(proxy: Proxy) -> dict[str, str]:
    return {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}


@contextmanager
def running_world(
    folder: Path,
    *,
    workers: int = 1,
    apis: int = 1,
    simulator: bool = False,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[World]:
    """A world with short times (`QUICK`) unless ``settings`` say otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    world = _servers(folder, with_simulator=simulator)
    try:
        world.settings.update(settings)
        for _ in range(apis):
            world.start_api()
        for _ in range(workers):
            world.start_worker()
        yield world
    finally:
        world.close()


def _servers(folder: Path, *, with_simulator: bool) -> World:
    with ExitStack() as undo:
        store = _ours(start_store(folder))
        undo.callback(store.process.stop)
        broker = _ours(start_valkey(folder))
        undo.callback(broker.process.stop)
        simulator = _ours(start_simulator(folder)) if with_simulator else None
        undo.pop_all()
    world = World(folder, store, broker, {}, HistoryReader(folder / HISTORY), simulator)
    world.settings = {
        **{name: value for name, value in QUICK.items() if name != "API_KEYS"},
        "MONGO_URI": store.mongo_uri,
        "MONGO_DB_NAME": DATABASE,
        "REDIS_URL": broker.redis_url(),
        PATH_VARIABLE: str(folder / HISTORY),
    }
    if simulator:
        world.settings |= {"OPENAI_API_KEY": "simulated", "OPENAI_BASE_URL": f"{simulator.http_url}/v1"}
        world.settings |= {"TAVILY_API_KEY": "simulated", "TAVILY_BASE_URL": simulator.http_url}
    return world


def _ours(server: Server) -> Server:
    """Refuse a server that somebody else started: what we do to it we may do to ours only."""
    listening = {
        connection.laddr.port
        for pid in _family(server.process)
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert server.port in listening, f"port {server.port} is not served by the {server.process.name} of this test"
    return server


def _family(process: Process) -> list[int]:
    return family_of(process.pid) if process.popen.poll() is None else []
