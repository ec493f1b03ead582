"""The whole product as a user starts it: `orchestrate up` in a process of its own, spoken to over HTTP."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from app.devstack.manifest import FILE_NAME
from app.devstack.source import with_source
from tests.processes import Process, module, start, until

Json = dict[str, Any]
FINAL = frozenset({"completed", "failed", "cancelled"})
STARTED = "The stack is up"
KEY = "canary-key-5b1f0e77"
# Short times, so that what waits for them can be watched.
QUICK = {
    "API_KEYS": f"{KEY}:default:admin",
    "API_RATE_LIMIT_PER_MINUTE": "0",
    "LEASE_SEC": "2",
    "HEARTBEAT_SEC": "0.5",
    "SWEEP_SEC": "0.2",
    "REDISPATCH_SEC": "1",
    "RETRY_INITIAL_SEC": "0.2",
    "CIRCUIT_OPEN_SEC": "0.5",
    "DRAIN_GRACE_SEC": "1",
    "NO_COLOR": "1",
    "COLUMNS": "200",
}


@dataclass(slots=True)
class Stack:
    """One running `orchestrate up`."""

    process: Process
    folder: Path
    client: httpx.Client

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def manifest(self) -> Json:
        found: Json = json.loads((self.data_dir / FILE_NAME).read_text())
        return found

    def pid_of(self, part: str) -> int:
        return int(self.manifest["pids"][part])

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a part; answers the pid that it had."""
        pid = self.pid_of(part)
        os.kill(pid, number)
        return pid

    def came_back(self, part: str, old_pid: int) -> None:
        until(lambda: self.pid_of(part) != old_pid, f"the supervisor starts {part} again")

    def until_api_answers(self) -> None:
        until(self._api_answers, "the API answers")

    def _api_answers(self) -> bool:
        self.process.must_run()
        try:
            return self.client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def until_model_answers(self) -> None:
        until(self._model_answers, "the simulator answers")

    def _model_answers(self) -> bool:
        try:
            return self.calls_in_progress() >= 0
        except httpx.TransportError:
            return False

    def submit(self, task: str, *, headers: Mapping[str, str] | None = None, **body: Any) -> str:
        response = self.client.post("/v1/agent/execute", json={"task": task, **body}, headers=headers)
        assert response.status_code == 202, response.text
        return str(response.json()["task_id"])

    def read(self, task_id: str) -> Json:
        response = self.client.get(f"/v1/tasks/{task_id}")
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    def final(self, task_id: str, *, patience: float = 20.0) -> Json:
        """The task once it has ended."""
        return until(lambda: self._in(task_id, FINAL), f"{task_id} ends", patience=patience)

    def in_status(self, task_id: str, status: str) -> Json:
        return until(lambda: self._in(task_id, {status}), f"{task_id} is {status}")

    def run(self, task: str, **body: Any) -> Json:
        return self.final(self.submit(task, **body))

    def waits_for_the_model(self, task_id: str) -> None:
        """Return once the task's call is on its way in the simulator, which is when it can be disturbed."""
        self.in_status(task_id, "processing")
        until(lambda: self.calls_in_progress() > 0, "a call waits in the simulator")

    def calls_in_progress(self) -> int:
        return int(self._calls().json()["waiting"])

    def calls_by_role(self) -> dict[str, int]:
        """How many calls the simulator has answered since it was told to forget them."""
        return dict(self._calls().json()["by_role"])

    def forget_calls(self) -> None:
        self._calls("DELETE").raise_for_status()

    def _calls(self, method: str = "GET") -> httpx.Response:
        url = self.manifest["environment"]["OPENAI_BASE_URL"].removesuffix("/v1")
        return httpx.request(method, f"{url}/_sim/requests", trust_env=False)

    def events(self, task_id: str, *, after: str = "") -> Iterator[ServerSentEvent]:
        """What the stream says until it ends or breaks."""
        headers = {"Last-Event-ID": after} if after else {}
        with connect_sse(self.client, "GET", f"/v1/tasks/{task_id}/events", headers=headers) as source:
            yield from source.iter_sse()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.data_dir / "logs").iterdir()))

    def orchestrate(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Another command of ours, on this stack's folder."""
        return orchestrate(*arguments, folder=self.folder, DATA_DIR=str(self.data_dir), **{**QUICK, **variables})

    def _in(self, task_id: str, statuses: frozenset[str] | set[str]) -> Json | None:
        task = self.read(task_id)
        return task if task["status"] in statuses else None


def orchestrate(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        module("app.cli.main", *arguments),
        cwd=folder,
        env=with_source({**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **variables}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start_up(folder: Path, *arguments: str, **variables: str) -> Process:
    """`orchestrate up` on a free port, not yet ready."""
    argv = module("app.cli.main", "up", "--port", "0", "--data-dir", str(folder / "data"), *arguments)
    return start("up", argv, folder=folder, environment={**QUICK, **variables})


@contextmanager
def running_stack(folder: Path, *arguments: str, **variables: str) -> Iterator[Stack]:
    """A stack from its banner to its last process."""
    process = start_up(folder, *arguments, **variables)
    try:
        process.says(STARTED)
        url = json.loads((folder / "data" / FILE_NAME).read_text())["api_url"]
        with httpx.Client(base_url=url, headers={"X-API-Key": KEY}, timeout=30.0, trust_env=False) as client:
            yield Stack(process, folder, client)
    finally:
        process.stop(patience=20)


def reasons(task: Json) -> list[str]:
    return [entry["reason"] for entry in task["history"]]


def statuses(task: Json) -> list[str]:
    return [entry["status"] for entry in task["history"]]


def names(runs: Sequence[Json]) -> list[tuple[str, str, str]]:
    return [(run["agent_name"], run["agent_role"], run["status"]) for run in runs]
