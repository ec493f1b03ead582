import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from app.cli.demo import ACTS
from app.cli.main import main
from app.cli.up import Narrator, StopSignals, remarks
from app.devstack.logfile import Severity
from app.devstack.notices import Died, Ready, Said, Started, Stopped
from app.devstack.session import Stack
from app.devstack.source import ROOT, with_source

HEAVY = ("langgraph", "langchain_core", "langchain_openai", "openai", "celery", "fastapi", "mongomock")
COSTLY = ("pydantic", "pymongo", "redis", "rich.markdown", "app.settings")


def orchestrate(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """In a process of its own, which takes a second to start."""
    environment = with_source({**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **variables})
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )


Command = Callable[..., tuple[Any, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The same in this process: its exit code, and what it wrote where."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["orchestrate", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        written = capsys.readouterr()
        return left.value.code, written.out, written.err

    return run


@pytest.mark.parametrize(
    ("loading", "unwanted"),
    [
        ("import app.cli.main", (*HEAVY, *COSTLY, "httpx")),
        ("import app.cli.main, app.cli.tasks", (*HEAVY, *COSTLY)),
        ("from app.cli.main import COMMANDS; [command.load() for command in COMMANDS]", HEAVY),
    ],
    ids=["the list of commands", "a command for a server that is named", "every command"],
)
def test_a_command_starts_without_the_libraries_that_it_does_not_need(loading: str, unwanted: tuple[str, ...]) -> None:
    script = f"import sys; {loading}; print([name for name in {unwanted!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, timeout=30, check=True)

    assert done.stdout.strip() == b"[]"


def test_an_unreachable_server_is_one_line_with_the_fix_and_its_own_code() -> None:
    done = orchestrate("task", "hello", "--server", "http://127.0.0.1:9")

    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert b"orchestrate up" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["task"], "TEXT"),
        (["nonsense"], "nonsense"),
        (["task", "x", "--server", "localhost"], "http://host:port"),
        (["up", "--port", "70000"], "65535"),
    ],
)
def test_wrong_usage_says_what_is_wrong(command: Command, arguments: list[str], said: str) -> None:
    code, _, told = command(*arguments)

    assert code == 2
    assert said in told
    assert "Traceback" not in told


def test_a_wrong_configuration_names_the_variable_and_the_fix(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_SLOTS", "many")

    code, _, told = command("up")

    assert code == 2
    assert "WORKER_SLOTS" in told


def test_standard_input_that_is_not_text_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"\xff\xfe")))

    code, _, told = command("task", "-", "--server", "http://127.0.0.1:9")

    assert code == 2
    assert "not UTF-8" in told


def test_debugging_shows_where() -> None:
    done = orchestrate("--debug", "task", "x", "--server", "localhost")

    assert b"Traceback" in done.stderr


def test_doctor_speaks_json_and_fails_when_the_stores_are_down(tmp_path: Path) -> None:
    done = orchestrate(
        "doctor",
        "--json",
        "--data-dir",
        str(tmp_path),
        MONGO_URI="mongodb://127.0.0.1:9",
        MONGO_TIMEOUT_SEC="0.1",
        REDIS_URL="redis://127.0.0.1:9",
    )

    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["ok"] is False
    grades = {check["name"]: check["grade"] for check in report["checks"]}
    assert grades["mongo"] == grades["redis"] == grades["broker"] == "fail"
    assert grades["python"] == "ok"


def narrated(*notices: Any, least: Severity = Severity.WARNING) -> str:
    text = StringIO()
    narrator = Narrator(Console(file=text, width=200), least=least)
    for notice in notices:
        narrator(notice)
    return text.getvalue()


def test_the_terminal_shows_what_happens_and_only_grave_words() -> None:
    text = narrated(
        Started("api", 1),
        Ready("api", timedelta(seconds=1.25)),
        Said("api", "just so", Severity.INFO),
        Said("api", "beware \x1b[2J", Severity.WARNING),
        Stopped("api", killed=True),
    )

    assert text == "api is ready (1.2 s)\napi | beware [2J\napi was killed\n"


def test_verbose_shows_every_line() -> None:
    assert narrated(Said("api", "just so", Severity.INFO), least=Severity.INFO) == "api | just so\n"


def test_a_record_is_shown_as_its_event_and_what_is_particular_to_it() -> None:
    record = {"timestamp": "now", "level": "warning", "logger": "x", "event": "job.attempt_failed", "attempt": 1}

    assert narrated(Said("w", json.dumps(record), Severity.WARNING)) == "w | job.attempt_failed attempt=1\n"


def test_a_crash_loop_shows_its_last_lines_and_a_single_death_does_not() -> None:
    once = Died("api", 1, timedelta(seconds=0.2), deaths=1, looping=False, last_lines=("boom",))
    loop = Died("api", 1, timedelta(seconds=8), deaths=5, looping=True, last_lines=("boom",))

    assert "boom" not in narrated(once)
    assert "api keeps dying: 5 times in a row" in narrated(loop)
    assert "  boom\n" in narrated(loop)


def test_the_banner_warns_of_what_is_not_real() -> None:
    embedded = cast("Stack", SimpleNamespace(plan=SimpleNamespace(embedded=("store", "simulator"))))
    real = cast("Stack", SimpleNamespace(plan=SimpleNamespace(embedded=())))

    assert "SIMULATOR" in " ".join(remarks(embedded))
    assert "embedded" in " ".join(remarks(embedded))
    assert remarks(real) == []


async def test_the_first_signal_asks_and_the_second_hurries() -> None:
    hurried: list[bool] = []
    signals = StopSignals()
    signals.install(on_hurry=lambda: hurried.append(True))

    os.kill(os.getpid(), 15)
    await asyncio.wait_for(signals.asked.wait(), 5)
    assert hurried == []

    signals._heard()
    assert hurried == [True]


def test_the_demonstration_expects_two_successes_and_one_honest_refusal() -> None:
    content, code, nobodys = ACTS

    assert content.went_as_expected({"status": "completed", "error": None})
    assert not code.went_as_expected({"status": "failed", "error": {"type": "TIMEOUT"}})
    assert nobodys.went_as_expected({"status": "failed", "error": {"type": "UNKNOWN_TASK_TYPE"}})
    assert not nobodys.went_as_expected({"status": "failed", "error": {"type": "INTERNAL"}})
