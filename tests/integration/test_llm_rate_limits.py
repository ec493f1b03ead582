"""What a provider allows is one allowance for all processes: two of them over one Valkey."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.pacing_process import REQUESTS, TOKENS

pytestmark = pytest.mark.slow


@dataclass
class Worker:
    """A process that asks for room before it would call a provider."""

    popen: subprocess.Popen[str]

    def ask(self, order: str) -> str:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(f"{order}\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().strip()

    def stop(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        assert self.popen.wait(timeout=10) == 0


@pytest.fixture
def workers(redis_url: str) -> Iterator[tuple[Worker, Worker]]:
    command = [sys.executable, "-m", "tests.pacing_process", redis_url]
    with ExitStack() as stack:
        popens = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        one, other = (Worker(popen) for popen in popens)
        yield one, other
        one.stop()
        other.stop()


def test_two_processes_share_the_requests_of_a_minute(workers: tuple[Worker, Worker]) -> None:
    one, other = workers

    told = [worker.ask("1") for _ in range(REQUESTS) for worker in (one, other)]

    assert told == ["admitted"] * REQUESTS + ["busy"] * REQUESTS


def test_two_processes_share_the_tokens_of_a_minute(workers: tuple[Worker, Worker]) -> None:
    one, other = workers
    most = str(TOKENS * 3 // 5)

    told = [one.ask(most), other.ask(most), other.ask(str(TOKENS // 4)), one.ask(str(TOKENS // 4))]

    assert told == ["admitted", "busy", "admitted", "busy"]


def test_what_one_process_learned_from_a_429_holds_for_the_other(workers: tuple[Worker, Worker]) -> None:
    one, other = workers

    assert one.ask("pause 30") == "paused"
    assert [other.ask("1"), one.ask("1")] == ["busy", "busy"]
