"""`orchestrate up` and its fellow commands as a user meets them."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT
from tests.processes import family_of, is_gone, module, running, start, until
from tests.scenarios.stack import KEY, QUICK, Stack, orchestrate, running_stack

FUNCTION = "Write a Python function that reverses a string."


def nothing_is_left_of(pids: list[int]) -> None:
    until(lambda: all(is_gone(pid) for pid in pids), f"all of {pids} are gone", patience=10)


@pytest.mark.long
def test_what_was_stored_is_there_again_after_ctrl_c_and_a_new_start(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        done = stack.run(FUNCTION)
        waiting = stack.submit(f"{FUNCTION} [[sim latency=3 role=router]]")
        stack.waits_for_the_model(waiting)
        family = family_of(stack.process.pid)

        stack.process.signal(signal.SIGINT)
        exit_code = stack.process.wait(patience=20)
        said = stack.process.lines()

    assert exit_code == 0
    nothing_is_left_of(family)
    stopped = [line.split()[0] for line in said if line.endswith("has stopped")]
    assert stopped[:2] == ["api", "worker-1"]
    assert set(stopped[2:]) == {"store", "broker", "simulator"}
    assert not (tmp_path / "data" / "stack.json").exists()

    with running_stack(tmp_path) as again:
        assert again.read(done["task_id"]) == done
        assert again.final(waiting, patience=30)["status"] == "completed"
        assert again.read(waiting)["attempt"] == 1


@pytest.mark.long
def test_kill_9_of_the_supervisor_leaves_no_process_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        task_id = stack.submit(FUNCTION)
        family = family_of(stack.process.pid)

        stack.process.kill()
        nothing_is_left_of(family)

    assert len(family) >= 6
    with running_stack(tmp_path) as again:
        assert again.final(task_id)["status"] == "completed"


def test_a_second_start_on_the_same_folder_is_refused_and_harms_nothing(stack: Stack) -> None:
    before = stack.manifest

    refused = stack.orchestrate("up", "--port", "0", "--data-dir", str(stack.data_dir))

    assert refused.returncode == 6
    assert before["api_url"] in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.manifest == before
    assert stack.run(FUNCTION)["status"] == "completed"


@pytest.mark.long
def test_two_stacks_on_two_folders_do_not_disturb_each_other(stack: Stack, tmp_path: Path) -> None:
    with running_stack(tmp_path, "--workers", "2") as other:
        task_id = other.submit(FUNCTION)

        assert other.final(task_id)["status"] == "completed"
        assert stack.client.get(f"/v1/tasks/{task_id}").status_code == 404
        assert len(other.client.get("/v1/system/metrics").json()["worker_details"]) == 2


def test_a_wrong_variable_stops_the_start_with_its_name_and_the_fix(tmp_path: Path) -> None:
    refused = orchestrate("up", "--data-dir", str(tmp_path), folder=tmp_path, LEASE_SEC="soon", API_KEYS="short")

    assert refused.returncode == 2
    assert "LEASE_SEC" in refused.stderr
    assert "API_KEYS" in refused.stderr
    assert "Traceback" not in refused.stderr


def without_numbers(line: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[\d.]+", "#", line.strip())


def transcript_lines(page: str) -> set[str]:
    """What the page says the demo prints, but for what it leaves out, and for states too short to be seen each time."""
    (transcript,) = re.findall(r"^````text\n(.*?)^````$", page, re.MULTILINE | re.DOTALL)
    lines = [line for line in transcript.splitlines() if line != "…" and not line.endswith(("queued", "processing"))]
    return set(map(without_numbers, lines))


def test_the_demo_shows_three_tasks_as_the_readme_has_them_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(
        "demo",
        module("app.cli.main", "demo"),
        folder=tmp_path,
        # What is configured for the product is not the demonstration's.
        environment={
            "NO_COLOR": "1",
            "COLUMNS": "80",
            "TMPDIR": str(tmp_path),
            "MONGO_URI": "mongodb://127.0.0.1:9",
            "WORKER_SLOTS": "nonsense",
        },
    )
    with running(process):
        process.says("queued|processing|completed", patience=30)
        family = family_of(process.pid)
        exit_code = process.wait(patience=60)

    said = process.read()
    assert exit_code == 0, said
    assert "all three ended as expected" in said
    assert "SIMULATOR" in said
    assert "ContentAgent" in said
    assert "CodeAgent" in said
    assert "UNKNOWN_TASK_TYPE" in said
    assert "Traceback" not in said
    assert transcript_lines((ROOT / "README.md").read_text("utf-8")) <= set(map(without_numbers, said.splitlines()))
    nothing_is_left_of(family)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.out"]


@pytest.mark.long
def test_the_demo_ignores_a_real_key_in_the_environment(tmp_path: Path) -> None:
    done = orchestrate(
        "demo", folder=tmp_path, OPENAI_API_KEY="sk-canary", MONGO_URI="mongodb://127.0.0.1:1", API_KEYS="another-key-1"
    )

    assert done.returncode == 0, done.stdout
    assert "sk-canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "exit_code", "status"),
    [
        (FUNCTION, 0, "completed"),
        ("Book me a flight to Paris for next Friday.", 1, "failed"),
    ],
)
def test_the_task_command_ends_with_the_code_of_the_tasks_end(
    stack: Stack, text: str, exit_code: int, status: str
) -> None:
    done = stack.orchestrate("task", text, "--json")

    assert done.returncode == exit_code, done.stderr
    assert json.loads(done.stdout)["status"] == status


@pytest.mark.long
def test_the_task_command_gives_up_waiting_when_told_to_and_the_task_goes_on(stack: Stack) -> None:
    done = stack.orchestrate("task", f"{FUNCTION} [[sim latency=2]]", "--timeout", "0.5", "--json")

    assert done.returncode == 4, done.stderr
    task_id = re.search(r"[0-9a-f-]{36}", done.stderr)
    assert task_id is not None
    assert stack.final(task_id[0])["status"] == "completed"


@pytest.mark.long
def test_the_task_command_tells_that_its_task_was_cancelled(stack: Stack) -> None:
    argv = module("app.cli.main", "task", f"{FUNCTION} [[sim latency=20]]")
    environment = {**QUICK, "DATA_DIR": str(stack.data_dir)}
    with running(start(f"task-{os.getpid()}", argv, folder=stack.folder, environment=environment)) as process:
        task_id = process.says("[0-9a-f-]{36}").split()[-1]

        cancelled = stack.orchestrate("tasks", "cancel", task_id)

        assert cancelled.returncode == 0, cancelled.stderr
        assert process.wait() == 3


def test_the_tasks_commands_list_show_retry_and_explain(stack: Stack) -> None:
    failed = stack.run("Book me a flight to Rome for next Friday.")["task_id"]

    listed = json.loads(stack.orchestrate("tasks", "list", "--status", "failed", "--json").stdout)
    shown = json.loads(stack.orchestrate("tasks", "show", failed, "--json").stdout)
    why = stack.orchestrate("tasks", "why", failed)
    retried = stack.orchestrate("tasks", "retry", failed)
    missing = stack.orchestrate("tasks", "show", "nonsense")

    assert failed in [item["task_id"] for item in listed["items"]]
    assert shown["error"]["type"] == "UNKNOWN_TASK_TYPE"
    assert "failed" in why.stdout
    assert retried.returncode == 0
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr
    assert stack.final(failed)["status"] == "failed"


def test_the_doctor_finds_a_running_stack_well(stack: Stack) -> None:
    examined = stack.orchestrate("doctor", "--json")

    checks = {check["name"]: check for check in json.loads(examined.stdout)["checks"]}
    assert examined.returncode == 0, examined.stdout
    assert {"mongo", "redis", "broker", "model", "search", "api", "workers", "circuits"} <= checks.keys()
    assert checks["api"]["grade"] == checks["workers"]["grade"] == checks["mongo"]["grade"] == "ok"
    assert KEY not in examined.stdout


def test_the_doctor_says_what_to_do_when_nothing_runs(tmp_path: Path) -> None:
    examined = orchestrate(
        "doctor",
        "--json",
        "--data-dir",
        str(tmp_path),
        folder=tmp_path,
        MONGO_URI="mongodb://127.0.0.1:1",
        REDIS_URL="redis://127.0.0.1:1/0",
        MONGO_TIMEOUT_SEC="1",
    )

    checks = {check["name"]: check for check in json.loads(examined.stdout)["checks"]}
    assert examined.returncode == 1
    assert checks["mongo"]["grade"] == checks["redis"]["grade"] == "fail"
    assert all(check["remedy"] for check in checks.values() if check["grade"] != "ok")
