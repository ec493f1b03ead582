"""`orchestrate run` as a process of its own, killed in the middle of its work and resumed."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.devstack.child import tethered
from app.devstack.source import with_source
from tests.processes import until

# Each command leaves a line in the work folder, so that one that ran twice can be told.
WORKFLOW = """
version: 1
name: notes
steps:
  list: {transform: {numbers: [1, 2, 3, 4, 5, 6]}}
  note:
    needs: [list]
    for_each: "${{ steps.list.output.numbers }}"
    as: number
    max_parallel: 2
    command: [sh, -c, "sleep 0.1; echo $NUMBER >> begun; echo $NUMBER"]
    env: {NUMBER: "${{ number }}"}
  last:
    needs: [note]
    command: [sh, -c, "cat begun | wc -l"]
outputs:
  said: "${{ steps.note.output.map(one, one.stdout) }}"
"""
SLEEPING = """
version: 1
name: sleeping
steps:
  sleep:
    command: [sh, -c, "sleep 60 & echo $!; wait"]
"""


def _argv(folder: Path, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return tethered([sys.executable, "-m", "app.cli.main", *arguments, "--data-dir", str(folder)])


def _begin(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    environment = with_source(os.environ)
    return subprocess.Popen(_argv(folder, arguments), cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def _orchestrate(folder: Path, *arguments: str) -> tuple[int, bytes]:
    environment, argv = with_source(os.environ), _argv(folder, arguments)
    done = subprocess.run(argv, cwd=folder, env=environment, stdout=subprocess.PIPE, timeout=30, check=False)
    return done.returncode, done.stdout


def _events(folder: Path) -> list[dict[str, Any]]:
    journal = next((folder / "runs").glob("*/events.jsonl"), None)
    lines = journal.read_bytes().splitlines(keepends=True) if journal else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


@pytest.mark.long
def test_a_run_that_is_killed_loses_nothing_and_repeats_no_step_that_ended(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text(WORKFLOW)
    chance, arguments = random.Random(7), ["run", "notes.yaml"]
    for _ in range(2):
        process = _begin(tmp_path, *arguments)
        seen = len(_events(tmp_path)) + chance.randint(3, 6)
        until(lambda seen=seen: len(_events(tmp_path)) >= seen, "some more events")  # type: ignore[misc]
        process.kill()
        process.wait()
        execution_id = _events(tmp_path)[0]["execution_id"]
        arguments = ["resume", execution_id]

    code, answer = _orchestrate(tmp_path, *arguments, "--json")

    told = json.loads(answer)
    events, ended = _events(tmp_path), set[str]()
    assert (code, told["status"]) == (0, "succeeded")
    assert told["outputs"] == {"said": [f"{number}\n" for number in range(1, 7)]}
    for event in events:
        assert event["event"] != "attempt.started" or event["path"] not in ended
        ended |= {event["path"]} if event["event"] == "step.ended" else set()
    code, answer = _orchestrate(tmp_path, "receipt", "verify", execution_id)
    assert (code, answer[:24]) == (0, b"the evidence is complete")


@pytest.mark.slow
def test_the_programs_of_a_run_that_is_killed_die_with_it(tmp_path: Path) -> None:
    (tmp_path / "sleeping.yaml").write_text(SLEEPING)
    process = _begin(tmp_path, "run", "sleeping.yaml")
    said = until(lambda: [*(tmp_path / "runs").glob("*/steps/sleep/stdout")], "the program's output")[0]
    until(lambda: said.read_text().endswith("\n"), "the number of the program's child")
    child = psutil.Process(int(said.read_text()))

    process.kill()
    process.wait()

    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child is gone")


@pytest.mark.long
def test_ctrl_c_ends_a_run_that_a_changed_workflow_may_go_on_with_only_on_purpose(tmp_path: Path) -> None:
    source = tmp_path / "sleeping.yaml"
    source.write_text(SLEEPING)
    process = _begin(tmp_path, "run", "sleeping.yaml")
    until(lambda: any(event["event"] == "attempt.started" for event in _events(tmp_path)), "the step has begun")

    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130
    execution_id, before = _events(tmp_path)[0]["execution_id"], len(_events(tmp_path))
    assert _events(tmp_path)[-1]["event"] == "run.interrupted"
    source.write_text(SLEEPING.replace("sleep 60 & echo $!; wait", "true"))
    assert _orchestrate(tmp_path, "resume", execution_id)[0] == 1
    assert len(_events(tmp_path)) == before
    assert _orchestrate(tmp_path, "resume", execution_id, "--accept-changes")[0] == 0
