"""Real child processes for tests: the embedded store, Valkey, the simulator and moto, each on a free port.

Every child is tied to the test process (the kernel kills it with us) and is stopped by its own pid.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from app.devstack.binaries import redis_server
from app.devstack.child import tethered
from app.devstack.ports import free_ports
from app.devstack.source import with_source

T = TypeVar("T")
START_PATIENCE = 20.0
STOP_PATIENCE = 10.0
POLL = 0.02
VALKEY_DATABASES = 10_000


class NotInTime(AssertionError):
    """What a test waited for did not happen within its bound."""


def until(look: Callable[[], T | None], what: str, *, patience: float = START_PATIENCE) -> T:
    """The first answer of ``look`` that is true; for what happens in other processes."""
    ends_at = time.monotonic() + patience
    while time.monotonic() < ends_at:
        if found := look():
            return found
        time.sleep(POLL)
    raise NotInTime(f"not within {patience:g} s: {what}")


@dataclass(slots=True)
class Process:
    """A child with its output in a file."""

    name: str
    popen: subprocess.Popen[bytes]
    output: Path
    begins_at: int = 0

    @property
    def pid(self) -> int:
        return self.popen.pid

    def read(self) -> str:
        return self.output.read_bytes()[self.begins_at :].decode(errors="replace")

    def lines(self) -> list[str]:
        """Only whole lines: the last one may still be on its way."""
        return self.read().split("\n")[:-1]

    def says(self, pattern: str, *, patience: float = START_PATIENCE) -> str:
        """The first line in which ``pattern`` is found."""
        return until(
            lambda: self._find(pattern), f"{self.name} says {pattern!r}; it said:\n{self.read()}", patience=patience
        )

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self, *, patience: float = STOP_PATIENCE) -> int:
        return self.popen.wait(patience)

    def kill(self) -> None:
        """As a crash does it: no goodbye, and gone when this returns."""
        self.popen.kill()
        self.popen.wait(STOP_PATIENCE)

    def stop(self, *, patience: float = STOP_PATIENCE) -> None:
        if self.popen.poll() is not None:
            return
        self.popen.terminate()
        try:
            self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def must_run(self) -> None:
        if self.popen.poll() is not None:
            raise NotInTime(f"{self.name} ended with {self.popen.returncode}; it said:\n{self.read()}")

    def _find(self, pattern: str) -> str | None:
        self.must_run()
        return next((line for line in self.lines() if re.search(pattern, line)), None)


def start(
    name: str,
    argv: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    tied: bool = True,
) -> Process:
    """Start a program; with ``tied`` it dies with us (leave that out for what installs its own handlers of death)."""
    output = folder / f"{name}.out"
    begins_at = output.stat().st_size if output.exists() else 0
    with output.open("ab") as sink:
        popen = subprocess.Popen(
            tethered(argv) if tied else argv,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=folder,
            env=with_source({**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}),
        )
    return Process(name, popen, output, begins_at)


@contextmanager
def running(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.stop()


def module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on a port of loopback."""

    process: Process
    port: int

    @property
    def mongo_uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true&retryWrites=false"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def redis_url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"


def start_store(folder: Path, *, port: int = 0) -> Server:
    """The embedded store; started again on the same folder it has the same documents."""
    argv = module("app.devstack.store", "--port", str(port), "--data-dir", str(folder / "store"))
    process = start("store", argv, folder=folder)
    said: dict[str, Any] = json.loads(process.says(rf'"pid": {process.pid}\b'))
    return Server(process, said["port"])


def start_valkey(folder: Path, *, port: int | None = None) -> Server:
    """Valkey in memory, with a database of its own for every test that wants one."""
    port = port or free_ports(1)[0]
    options = {"--port": port, "--bind": "127.0.0.1", "--save": "", "--appendonly": "no", "--dir": folder}
    words = [str(word) for option in {**options, "--databases": VALKEY_DATABASES}.items() for word in option]
    process = start("valkey", [redis_server(), *words], folder=folder)
    until(lambda: is_listening(port), f"valkey listens on {port}; it said:\n{process.read()}")
    return Server(process, port)


def start_moto(folder: Path, *, port: int | None = None) -> Server:
    """Moto's AWS, in memory; whoever asks is let in, whatever the key."""
    port = port or free_ports(1)[0]
    process = start("moto", module("moto.server", "--host", "127.0.0.1", "--port", str(port)), folder=folder)
    until(lambda: is_listening(port), f"moto listens on {port}; it said:\n{process.read()}")
    return Server(process, port)


def start_simulator(folder: Path, *, port: int = 0) -> Server:
    process = start("simulator", module("app.llm.simulator", "--port", str(port)), folder=folder)
    line = process.says("listening on http://")
    return Server(process, int(line.rsplit(":", 1)[1]))


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_gone(pid: int) -> bool:
    """Also when it is only waiting for somebody to read its exit code."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def family_of(pid: int) -> list[int]:
    """The process and everything it started."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
