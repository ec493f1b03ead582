"""`orchestrate task` against a small HTTP server that plays one task."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from app.cli.address import Address
from app.cli.exit_codes import ExitCode
from app.cli.main import app
from app.cli.task import Manner, Submission, run_task
from app.devstack.source import ROOT

TASK_ID = "11111111-2222-3333-4444-555555555555"


class Play:
    """One task that goes through these statuses; without an end, the stream stays open until the play is over."""

    def __init__(self, *statuses: str) -> None:
        self.statuses = statuses
        self.submitted: list[dict[str, Any]] = []
        self.over = threading.Event()

    @property
    def task(self) -> dict[str, Any]:
        return {"task_id": TASK_ID, "status": self.statuses[-1], "result": {"raw_output": "the answer"}}

    @property
    def events(self) -> str:
        datas = (json.dumps({"event": "task.status", "status": status}) for status in self.statuses)
        return "".join(f"id: {number}\ndata: {data}\n\n" for number, data in enumerate(datas))


def handler_of(play: Play) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            play.submitted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer({"task_id": TASK_ID, "status": "queued"})

        def do_GET(self) -> None:
            if not urlsplit(self.path).path.endswith("/events"):
                self._answer(play.task)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(play.events.encode())
            self.wfile.flush()
            if play.statuses[-1] == "processing":
                play.over.wait(20)

        def _answer(self, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@contextmanager
def served(play: Play) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(play)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            play.over.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3), ("awaiting_approval", 7)]
)
def test_the_exit_code_tells_how_the_task_ended(status: str, code: int) -> None:
    with served(Play("queued", status)) as url:
        assert run_task(Address(url), Submission("do it"), Manner()) == code


def test_json_is_the_final_task_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    play = Play("queued", "completed")
    with served(play) as url:
        run_task(Address(url), Submission("do it", agent="CodeAgent", session_id="s"), Manner(as_json=True))

    assert json.loads(capsys.readouterr().out) == play.task
    assert play.submitted == [{"task": "do it", "agent": "CodeAgent", "session_id": "s"}]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ((), {}),
        (
            ("--budget", "usd=0.05", "--budget", "model_calls=3"),
            {"budget": {"usd": 0.05, "model_calls": 3}},
        ),
        (("--ask",), {"clarify": True}),
        (("--budget", "usd=1", "--ask"), {"budget": {"usd": 1, "on_exceeded": "ask"}, "clarify": True}),
    ],
)
def test_limits_and_the_wish_to_be_asked_are_sent(options: tuple[str, ...], sent: dict[str, Any]) -> None:
    play = Play("queued")
    with served(play) as url:
        result = CliRunner().invoke(app, ["task", "do it", "--no-follow", "--server", url, *options])

    assert result.exit_code == 0, result.output
    assert play.submitted == [{"task": "do it", **sent}]


def test_without_a_terminal_progress_is_plain_lines_apart_from_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Play("queued", "processing", "completed")) as url:
        run_task(Address(url), Submission("do it"), Manner())

    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"task {TASK_ID}", "queued", "processing", "completed"]
    assert "the answer" in captured.out


def test_not_following_prints_the_id(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Play("queued")) as url:
        assert run_task(Address(url), Submission("do it"), Manner(follow=False)) is ExitCode.OK

    assert capsys.readouterr().out == f"{TASK_ID}\n"


def test_a_timeout_says_that_the_task_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Play("processing")) as url:
        assert run_task(Address(url), Submission("do it"), Manner(timeout=0.3)) is ExitCode.STILL_RUNNING

    assert f"orchestrate tasks cancel {TASK_ID}" in capsys.readouterr().err


def test_ctrl_c_says_that_the_task_goes_on_and_how_to_cancel_it() -> None:
    command = [sys.executable, "-m", "app.cli.main", "task", "do it", "--server"]
    with (
        served(Play("processing")) as url,
        subprocess.Popen([*command, url], cwd=ROOT, stderr=subprocess.PIPE, text=True) as client,
    ):
        assert client.stderr is not None
        before = [client.stderr.readline() for _ in range(2)]
        client.send_signal(signal.SIGINT)
        _, after = client.communicate(timeout=20)

    assert before[-1] == "processing\n"
    assert client.returncode == 130
    assert f"the task goes on; see it with: orchestrate tasks show {TASK_ID}" in after
    assert "Traceback" not in after
