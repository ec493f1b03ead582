"""`orchestrate verify` on a running stack: right about a healthy one, and about one that was tampered with."""

import json
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.scenarios.stack import Json, Stack, orchestrate

FUNCTION = "Write a Python function that reverses a string."


def verified(stack: Stack, code: int) -> dict[str, Json]:
    """The checks by name; the command must exit with this code."""
    done = stack.orchestrate("verify", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is (code == 0)
    return {check["name"]: check for check in report["checks"]}


def tasks_of(stack: Stack) -> Any:
    client: MongoClient[dict[str, Any]] = MongoClient(stack.manifest["environment"]["MONGO_URI"])
    return client, client["agent_orchestrator"]["tasks"]


def test_a_stack_that_worked_keeps_every_promise(stack: Stack) -> None:
    done = stack.run(FUNCTION)
    running = stack.submit(f"{FUNCTION} [[sim latency=1]]")
    stack.in_status(running, "processing")

    checks = verified(stack, 0)

    assert done["status"] == "completed"
    assert {check["ok"] for check in checks.values()} == {True}
    assert stack.final(running)["status"] == "completed"


@pytest.mark.long
def test_a_tampered_task_is_shown_until_it_is_mended(stack: Stack) -> None:
    task_id = stack.run(FUNCTION)["task_id"]
    client, tasks = tasks_of(stack)
    with client:
        tasks.update_one({"_id": task_id}, {"$set": {"lease": {"token": "t", "worker": "w"}}})
        broken = verified(stack, 1)
        shown = stack.orchestrate("verify")
        tasks.update_one({"_id": task_id}, {"$set": {"lease": None}})

    assert [name for name, check in broken.items() if not check["ok"]] == ["final_with_lease"]
    [offender] = broken["final_with_lease"]["offenders"]
    assert (offender["task_id"], offender["status"], offender["worker"]) == (task_id, "completed", "w")
    assert f"fail final_with_lease           a job that ended has no lease\n      -> {task_id}" in shown.stdout
    assert verified(stack, 0)["final_with_lease"]["ok"]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_store_that_cannot_be_reached_has_an_exit_code_of_its_own(tmp_path: Path, arguments: list[str]) -> None:
    variables = {"MONGO_URI": "mongodb://127.0.0.1:1", "MONGO_TIMEOUT_SEC": "0.5"}

    done = orchestrate("verify", "--data-dir", str(tmp_path), *arguments, folder=tmp_path, **variables)

    assert done.returncode == 5
    assert done.stdout == ""
    assert "the store cannot be verified" in done.stderr
