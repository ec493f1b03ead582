"""The floor: a plain Celery application on the same broker, with the threads pool and a Redis result backend.

``python -m tests.bench.plain_celery BROKER_URL MARKS THREADS`` is its worker.
"""

import http.client
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, signals

from app.devstack.probes import LOOPBACK
from tests.bench.client import CODE_CALL
from tests.bench.process import BenchFailed, Process

PATIENCE = 60.0
LOOK_PAUSE = 0.005
READY = "plain.ready"


def build_celery(broker_url: str, marks: Path) -> Celery:
    """Celery's defaults, but for what costs extra (events) or may not be used (pickle)."""
    celery = Celery("plain", broker=broker_url, backend=broker_url, set_as_current=False)
    celery.conf.update(accept_content=["json"], result_expires=600, worker_hijack_root_logger=False)

    @celery.task(name="no_op")  # type: ignore[untyped-decorator]
    def no_op() -> str:
        return "ping"

    @celery.task(name="marked", ignore_result=True)  # type: ignore[untyped-decorator]
    def marked() -> None:
        # One byte per task: the file's size tells how many are done, its time when the last one was.
        descriptor = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b".")
        os.close(descriptor)

    @celery.task(name="stamp")  # type: ignore[untyped-decorator]
    def stamp(times: list[float]) -> list[float]:
        return [*times, time.time()]

    @celery.task(name="join")  # type: ignore[untyped-decorator]
    def join(results: list[str]) -> int:
        return len(results)

    @celery.task(name="nap")  # type: ignore[untyped-decorator]
    def nap(seconds: float) -> None:
        time.sleep(seconds)

    @celery.task(name="call")  # type: ignore[untyped-decorator]
    def call(port: int) -> int:
        return _call_model(port)

    return celery


def _call_model(port: int) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": CODE_CALL["task"]}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


class PlainCelery:
    """Client and worker of the floor. The client's work is what the API does in the product."""

    def __init__(self, broker_url: str, folder: Path) -> None:
        self._broker_url = f"{broker_url}/1"
        self._folder = folder
        self._marks = folder / "marks"
        self._celery = build_celery(self._broker_url, self._marks)
        self._worker: Process | None = None

    @property
    def worker_pid(self) -> int:
        assert self._worker is not None
        return self._worker.pid

    def start(self, threads: int) -> None:
        argv = (sys.executable, "-m", "tests.bench.plain_celery", self._broker_url, str(self._marks), str(threads))
        log = self._folder / f"plain-{threads}.log"
        self._worker = Process("plain Celery", argv, log=log, environment=os.environ, folder=self._folder)
        self._worker.wait_until(lambda: self._worker is not None and self._worker.says(READY))
        self._task("no_op").delay().get(timeout=PATIENCE)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def one_by_one(self, count: int) -> list[float]:
        """Seconds from `delay` to the result of each no-op."""
        return [self._one() for _ in range(count)]

    def with_results(self, count: int) -> float:
        """Seconds from the first `delay` to the last result."""
        return self._gathered("no_op", [()] * count)

    def without_results(self, count: int) -> float:
        """Seconds from the first `delay` to the end of the last no-op."""
        self._marks.unlink(missing_ok=True)
        began, task = time.time(), self._task("marked")
        for _ in range(count):
            task.delay()
        return self._until_marked(count, began)

    def chains(self, count: int, length: int) -> float:
        """Seconds from the first chain's `delay` to the result of the last one."""
        began, task = time.perf_counter(), self._task("no_op")
        pending = [chain(*(task.si() for _ in range(length)), app=self._celery).delay() for _ in range(count)]
        for result in pending:
            result.get(timeout=PATIENCE)
        return time.perf_counter() - began

    def chains_without_results(self, count: int, length: int) -> float:
        """Seconds from the first chain's `delay` to the end of the last task."""
        self._marks.unlink(missing_ok=True)
        began, task = time.time(), self._task("marked")
        for _ in range(count):
            chain(*(task.si() for _ in range(length)), app=self._celery).delay()
        return self._until_marked(count * length, began)

    def gaps(self, length: int) -> list[float]:
        """Seconds between the tasks of one chain that runs alone."""
        stamp = self._task("stamp")
        steps = (stamp.s([]), *(stamp.s() for _ in range(length - 1)))
        times: list[float] = chain(*steps, app=self._celery).delay().get(timeout=PATIENCE)
        return [after - before for before, after in pairwise(times)]

    def fan_out(self, width: int) -> float:
        """Seconds from a chord's `delay` to the result of its join."""
        began, task = time.perf_counter(), self._task("no_op")
        joined = chord((task.si() for _ in range(width)), app=self._celery)(self._task("join").s())
        if joined.get(timeout=PATIENCE) != width:
            raise BenchFailed("a chord of plain Celery lost results")
        return time.perf_counter() - began

    def naps(self, count: int, seconds: float) -> float:
        return self._gathered("nap", [(seconds,)] * count)

    def calls(self, count: int, port: int) -> float:
        return self._gathered("call", [(port,)] * count)

    def _one(self) -> float:
        began = time.perf_counter()
        self._task("no_op").delay().get(timeout=PATIENCE)
        return time.perf_counter() - began

    def _gathered(self, name: str, arguments: list[tuple[Any, ...]]) -> float:
        began, task = time.perf_counter(), self._task(name)
        pending = [task.delay(*each) for each in arguments]
        for result in pending:
            result.get(timeout=PATIENCE)
        return time.perf_counter() - began

    def _until_marked(self, count: int, began: float) -> float:
        self._await_marks(count, until=began + PATIENCE)
        return self._marks.stat().st_mtime - began

    def _await_marks(self, count: int, *, until: float) -> None:
        while not self._marks.exists() or self._marks.stat().st_size < count:
            if time.time() > until:
                raise BenchFailed("plain Celery did not finish in time")
            time.sleep(LOOK_PAUSE)

    def _task(self, name: str) -> Any:
        return self._celery.tasks[name]


def _say_ready(**_: Any) -> None:
    sys.stderr.write(f"{READY}\n")


def main(arguments: list[str]) -> None:
    broker_url, marks, threads = arguments
    signals.worker_ready.connect(_say_ready)
    build_celery(broker_url, Path(marks)).worker_main(
        [
            "--quiet",
            "worker",
            "--pool=threads",
            f"--concurrency={threads}",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
