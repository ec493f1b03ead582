"""The product as `orchestrate up` plans it, each part a process that is started and stopped by hand."""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from app.devstack.binaries import redis_server
from app.devstack.part import Part, Says
from app.devstack.ports import free_ports
from app.devstack.probes import LOOPBACK
from app.devstack.session import hermetic
from app.devstack.stack import API, BROKER, SIMULATOR, STORE, Binaries, Ports, Request, plan_stack
from app.jobs.models import FINAL, OPEN, Status
from app.settings import Settings
from app.tasks.models import COLLECTION
from tests.bench.process import BenchFailed, Process

WORKER = "worker-1"
# Stands in for the worker when its commands to the store are counted.
COUNTED_WORKER = "counted-worker"
PARTS = (BROKER, STORE, SIMULATOR, API, WORKER, COUNTED_WORKER)


class Stack:
    """Every setting has its default, but for the rate limit, which is off, and the worker's slots."""

    def __init__(self, folder: Path, *, slots: int) -> None:
        self.folder = folder
        self.ports = Ports(*free_ports(4))
        self.commands = folder / "commands"
        self._parts = {part.name: part for part in _plan(folder, self.ports, slots)}
        self._parts[COUNTED_WORKER] = _counted(self._parts[WORKER], self.commands)
        self._running: dict[str, Process] = {}
        for name in PARTS:
            (folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def broker_url(self) -> str:
        return f"redis://{LOOPBACK}:{self.ports.broker}"

    def pid(self, name: str) -> int:
        return self._running[name].pid

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def start(self, *names: str) -> float:
        """Start the parts one after the other; seconds until the last of them was ready."""
        return [self._start(self._parts[name]) for name in names][-1]

    def stop(self, *names: str) -> None:
        """These, or all."""
        for name in reversed(PARTS):
            if name in self._running and name in (names or PARTS):
                self._running.pop(name).stop()

    def _start(self, part: Part) -> float:
        log = self.folder / f"{part.name}.log"
        process = Process(part.name, part.argv, log=log, environment=part.environment, folder=part.folder)
        self._running[part.name] = process
        return process.wait_until(lambda: _is_ready(part, process))


class TaskStore:
    """Looks at the tasks where they are stored, so that watching them costs the API and the worker nothing."""

    def __init__(self, port: int) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(LOOPBACK, port, directConnection=True, tz_aware=True)
        self._tasks = self._client[str(Settings.model_fields["mongo_db_name"].default)][COLLECTION]

    def has_open_tasks(self) -> bool:
        return any(self._tasks.find_one({"status": status.value}, {"_id": 1}) for status in OPEN)

    def count(self, status: Status, *, since: datetime) -> int:
        return self._tasks.count_documents(_recent(status, since))

    def last_completion(self, *, since: datetime) -> datetime:
        found = self._tasks.find(_recent(Status.COMPLETED, since), {"completed_at": 1})
        moments: list[datetime] = [one["completed_at"] for one in found]
        return max(moments)

    def failures(self, *, since: datetime) -> dict[str, int]:
        counts = {status.value: self.count(status, since=since) for status in FINAL - {Status.COMPLETED}}
        return {status: count for status, count in counts.items() if count}

    def refuse_failures(self, *, since: datetime) -> None:
        if failures := self.failures(since=since):
            raise BenchFailed(f"tasks did not complete: {failures}")

    def most_at_once(self, *, since: datetime) -> int:
        """The most executors that were at work at the same time."""
        steps: list[tuple[datetime, int]] = []
        for task in self._tasks.find(_recent(Status.COMPLETED, since), {"agent_runs": 1}):
            for run in task["agent_runs"]:
                if run["agent_role"] == "executor":
                    steps += [(run["started_at"], 1), (run["finished_at"], -1)]
        return max(accumulate(change for _, change in sorted(steps)), default=0)

    def close(self) -> None:
        self._client.close()


def _recent(status: Status, since: datetime) -> dict[str, Any]:
    tenant_id = Settings.model_fields["default_tenant"].default
    return {"tenant_id": tenant_id, "status": status.value, "created_at": {"$gte": since}}


def _plan(folder: Path, ports: Ports, slots: int) -> tuple[Part, ...]:
    request = Request(
        settings=Settings.model_construct(),
        environment={**hermetic(os.environ), "API_RATE_LIMIT_PER_MINUTE": "0"},
        data_dir=folder,
        folder=folder,
        host=LOOPBACK,
        workers=1,
        concurrency=slots,
    )
    return plan_stack(request, ports, Binaries(mongod=None, redis_server=redis_server())).parts


def _counted(worker: Part, commands: Path) -> Part:
    argv = (sys.executable, "-m", "tests.bench.counted_worker", str(commands))
    return replace(worker, name=COUNTED_WORKER, argv=argv)


def _is_ready(part: Part, process: Process) -> bool:
    if isinstance(part.ready, Says):
        return process.says(part.ready.event)
    return asyncio.run(_ask(part))


async def _ask(part: Part) -> bool:
    assert not isinstance(part.ready, Says)
    return await part.ready.probe()
