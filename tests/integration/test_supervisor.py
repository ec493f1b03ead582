"""The supervisor with real processes: small stand-ins that write what happens to them into one file."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from app.devstack import ports
from app.devstack.keeper import StartFailed
from app.devstack.lockfile import FolderLock
from app.devstack.manifest import Manifest
from app.devstack.notices import Died, Notice, Started, Stopped
from app.devstack.part import Part, Says
from app.devstack.restart import RestartPolicy
from app.devstack.supervisor import Supervisor

DEADLINE = 40.0
ROOT = Path(__file__).parents[2]

# Writes "+name" when it begins and "-name" when it is asked to stop.
OBEDIENT = """
import json, signal, sys
name, diary = sys.argv[1:]
def note(sign):
    with open(diary, "a") as file:
        file.write(sign + name + "\\n")
def stop(*_):
    note("-")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("+")
print(json.dumps({"event": "ready", "level": "info"}), flush=True)
while True:
    signal.pause()
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"event": "ready"}', flush=True)
while True:
    signal.pause()
"""

WITH_GRANDCHILD = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal\\nwhile True: signal.pause()"])
print('{"event": "ready"}', flush=True)
signal.pause()
"""

# A supervisor of its own, to be killed: prints its children's pids once all are ready.
DRIVER = """
import asyncio, json, sys
from pathlib import Path
from app.devstack.part import Part, Says
from app.devstack.supervisor import Supervisor

async def main():
    parts = [Part(f"part-{n}", (sys.executable, "-c", sys.argv[2]), Says("ready")) for n in range(2)]
    supervisor = Supervisor(parts, logs=Path(sys.argv[1]), notify=lambda notice: None)
    await supervisor.start()
    print(json.dumps(supervisor.pids), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Diary:
    """What the stand-ins wrote and what the supervisor said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[Notice] = []

    def part(self, name: str, *, after: Iterable[str] = (), stage: int = 0) -> Part:
        argv = (sys.executable, "-c", OBEDIENT, name, str(self.path))
        return Part(name, argv, Says("ready"), dict(os.environ), after=frozenset(after), stage=stage)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def deaths(self) -> list[Died]:
        return [notice for notice in self.notices if isinstance(notice, Died)]

    def pids_of(self, name: str) -> list[int]:
        return [notice.pid for notice in self.notices if isinstance(notice, Started) and notice.part == name]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@asynccontextmanager
async def supervised(
    parts: Iterable[Part], diary: Diary, tmp_path: Path, *, policy: RestartPolicy | None = None
) -> AsyncIterator[Supervisor]:
    logs = tmp_path / "logs"
    logs.mkdir(exist_ok=True)
    supervisor = Supervisor(tuple(parts), logs=logs, notify=diary.notices.append, policy=policy)
    try:
        yield supervisor
    finally:
        supervisor.hurry()
        await supervisor.stop()


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in other processes
            await asyncio.sleep(0.02)
    assert condition(), what


def is_gone(pid: int) -> bool:
    """Also when it is only waiting for somebody to read its exit code."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_parts_start_after_those_they_need_and_stop_in_reverse(diary: Diary, tmp_path: Path) -> None:
    parts = [
        diary.part("store"),
        diary.part("worker", after=["store"], stage=1),
        diary.part("api", after=["worker"], stage=2),
    ]

    async with supervised(parts, diary, tmp_path) as supervisor:
        await supervisor.start()
        pids = supervisor.pids.values()
        await supervisor.stop()

    assert diary.lines() == ["+store", "+worker", "+api", "-api", "-worker", "-store"]
    assert all(is_gone(pid) for pid in pids)


async def test_a_part_that_is_killed_comes_back_and_its_neighbours_stay(diary: Diary, tmp_path: Path) -> None:
    async with supervised([diary.part("store"), diary.part("api")], diary, tmp_path) as supervisor:
        await supervisor.start()
        before = supervisor.pids

        os.kill(before["store"], signal.SIGKILL)
        await until(lambda: diary.lines().count("+store") == 2, "the store is started again")

        assert supervisor.pids["store"] != before["store"]
        assert supervisor.pids["api"] == before["api"]
        assert [(death.part, death.exit_code) for death in diary.deaths()] == [("store", -signal.SIGKILL)]


async def test_a_crash_loop_says_so_with_its_last_lines(diary: Diary, tmp_path: Path) -> None:
    # given a part that starts well once and then never again
    flag = tmp_path / "was here"
    script = (
        "import pathlib, signal, sys; flag = pathlib.Path(sys.argv[1])\n"
        "if flag.exists(): sys.exit('the disk is on fire')\n"
        'flag.touch(); print(\'{"event": "ready"}\', flush=True); signal.pause()'
    )
    part = Part("store", (sys.executable, "-c", script, str(flag)), Says("ready"), dict(os.environ))
    policy = RestartPolicy(first_delay=timedelta(milliseconds=1), loop=3)

    async with supervised([part], diary, tmp_path, policy=policy) as supervisor:
        await supervisor.start()
        os.kill(supervisor.pids["store"], signal.SIGKILL)
        await until(lambda: any(death.looping for death in diary.deaths()), "the loop is noticed")

    looping = next(death for death in diary.deaths() if death.looping)
    assert looping.deaths == 3
    assert looping.last_lines == ("the disk is on fire",)


async def test_a_part_that_never_becomes_ready_fails_the_start_with_its_last_words(
    diary: Diary, tmp_path: Path
) -> None:
    part = Part("store", (sys.executable, "-c", "raise SystemExit('no such disk')"), Says("ready"), dict(os.environ))
    policy = RestartPolicy(first_delay=timedelta(milliseconds=1), tries=2)

    async with supervised([part, diary.part("api", after=["store"])], diary, tmp_path, policy=policy) as supervisor:
        with pytest.raises(StartFailed, match=r"store ended 2 times.*\n  no such disk"):
            await supervisor.start()

    assert diary.lines() == []


async def test_a_program_that_does_not_exist_fails_the_start(diary: Diary, tmp_path: Path) -> None:
    part = Part("store", ("/nowhere/mongod",), Says("ready"), dict(os.environ))
    policy = RestartPolicy(first_delay=timedelta(milliseconds=1), tries=2)

    async with supervised([part], diary, tmp_path, policy=policy) as supervisor:
        with pytest.raises(StartFailed, match="/nowhere/mongod"):
            await supervisor.start()


async def test_a_hurry_kills_what_does_not_listen(diary: Diary, tmp_path: Path) -> None:
    part = Part("store", (sys.executable, "-c", STUBBORN), Says("ready"), dict(os.environ), grace=timedelta(hours=1))

    async with supervised([part], diary, tmp_path) as supervisor:
        await supervisor.start()
        pid = supervisor.pids["store"]
        stopping = asyncio.create_task(supervisor.stop())
        supervisor.hurry()
        await stopping

    assert is_gone(pid)
    assert Stopped("store", killed=True) in diary.notices


async def test_stopping_during_the_start_leaves_nothing(diary: Diary, tmp_path: Path) -> None:
    never_ready = Part("store", (sys.executable, "-c", OBEDIENT, "store", str(diary.path)), Says("x"), dict(os.environ))

    async with supervised([never_ready, diary.part("api", after=["store"])], diary, tmp_path) as supervisor:
        start = asyncio.create_task(supervisor.start())
        await until(lambda: diary.lines() == ["+store"], "the store runs")
        start.cancel()
        await supervisor.stop()

    assert diary.lines() == ["+store", "-store"]
    assert is_gone(diary.pids_of("store")[0])


async def test_the_output_of_a_part_is_in_its_log(diary: Diary, tmp_path: Path) -> None:
    async with supervised([diary.part("store")], diary, tmp_path) as supervisor:
        await supervisor.start()

    written = (tmp_path / "logs" / "store.log").read_text()
    assert json.loads(written) == {"event": "ready", "level": "info"}


@pytest.mark.parametrize("script", [OBEDIENT + "# {0}", STUBBORN, WITH_GRANDCHILD], ids=["plain", "stubborn", "parent"])
def test_kill_9_of_the_supervisor_leaves_no_process(script: str, tmp_path: Path) -> None:
    # given a supervisor in a process of its own, with children (and grandchildren)
    if script.startswith(OBEDIENT):
        script = script.replace("name, diary = sys.argv[1:]", f"name, diary = 'x', {str(tmp_path / 'diary')!r}")
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), script], stdout=subprocess.PIPE, cwd=ROOT
    ) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        family = psutil.Process(driver.pid).children(recursive=True)

        # when it is killed
        driver.kill()
        driver.wait()

    # then all are gone: the parts, what they started, and the reaper
    assert len(family) >= 3
    asyncio.run(until(lambda: all(is_gone(member.pid) for member in family), "nothing is left"))


async def test_kill_9_of_the_reaper_costs_nothing_but_the_second_line(diary: Diary, tmp_path: Path) -> None:
    async with supervised([diary.part("store")], diary, tmp_path) as supervisor:
        await supervisor.start()
        os.kill(supervisor._reaper.pid, signal.SIGKILL)
        os.kill(supervisor.pids["store"], signal.SIGKILL)

        await until(lambda: diary.lines().count("+store") == 2, "the store is started again")


def orchestrate(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_a_second_start_on_the_same_folder_is_refused_with_the_running_urls(tmp_path: Path) -> None:
    lock = FolderLock.try_acquire(tmp_path)
    assert lock is not None
    url = "http://127.0.0.1:8765"
    with lock:
        Manifest(supervisor_pid=os.getpid(), api_url=url, environment={}, embedded=(), pids={}).write(tmp_path)

        second = orchestrate("up", "--data-dir", str(tmp_path), "--port", "0")

    assert second.returncode == 6
    assert url in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", ports.free_ports(1)[0])) as taken:
        port = taken.getsockname()[1]

        refused = orchestrate("up", "--data-dir", str(tmp_path), "--port", str(port))

    assert refused.returncode == 1
    assert f"port {port} on 127.0.0.1 is already in use" in refused.stderr
    assert "--port 0" in refused.stderr
    assert "Traceback" not in refused.stderr


def running_stack(folder: Path) -> subprocess.Popen[bytes]:
    """A whole stack, up; the caller ends it."""
    command = [sys.executable, "-m", "app.cli.main", "up", "--port", "0", "--data-dir", str(folder)]
    stack = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert stack.stdout is not None
    for line in stack.stdout:
        if b"The stack is up" in line:
            break
    return stack


@pytest.mark.long
@pytest.mark.slow
def test_a_whole_stack_survives_kill_9_with_its_data_and_leaves_no_process(tmp_path: Path) -> None:
    # given a stack with one task
    with running_stack(tmp_path) as stack:
        family = psutil.Process(stack.pid).children(recursive=True)
        task = json.loads(orchestrate("task", "Write about coffee", "--json", DATA_DIR=str(tmp_path)).stdout)

        # when the supervisor is killed
        stack.kill()
    asyncio.run(until(lambda: all(is_gone(member.pid) for member in family), "nothing is left"))

    # then a new start on the same folder has the task, and stops cleanly
    with running_stack(tmp_path) as again:
        shown = orchestrate("tasks", "show", task["task_id"], "--json", DATA_DIR=str(tmp_path))
        family = psutil.Process(again.pid).children(recursive=True)
        again.send_signal(signal.SIGINT)
    assert json.loads(shown.stdout)["status"] == "completed"
    assert again.returncode == 0
    assert all(is_gone(member.pid) for member in family)
    assert not (tmp_path / "stack.json").exists()
