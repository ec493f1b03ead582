"""The examples of the guides, run as they are printed but for the address."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.devstack.source import with_source
from app.llm.simulator.scenario_files import load_scenario
from app.tasks.schemas import EXAMPLE_ID
from tests.architecture.tree import ROOT
from tests.scenarios.stack import KEY, QUICK, Stack

GUIDES = ROOT / "docs" / "how-to"
TUTORIAL = ROOT / "docs" / "tutorials" / "first-steps.md"
ADDRESS = re.compile(r"http://(?:localhost|127\.0\.0\.1):8000")
PATIENCE = 300
_EXIT_CODE = re.compile(r"^\[exit (\d+)\]$", re.MULTILINE)
_HTTP_STATUS = re.compile(r"^\[(\d{3})\]$", re.MULTILINE)


def examples(guide: str, language: str) -> list[str]:
    text = (GUIDES / guide).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(stack: Stack, folder: Path, code: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    url = str(stack.client.base_url).rstrip("/")
    (folder / ".curlrc").write_text(f'silent\nheader = "X-API-Key: {KEY}"\nwrite-out = "\\n[%{{http_code}}]\\n"\n')
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CURL_HOME": str(folder),
        "ORCHESTRATE_URL": url,
        "ORCHESTRATE_API_KEY": KEY,
        "DATA_DIR": str(stack.data_dir),
    }
    return subprocess.run(
        argv,
        input=ADDRESS.sub(url, code),
        cwd=folder,
        env=with_source({**os.environ, **QUICK, **own}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="the guides use curl")
@pytest.mark.parametrize(
    ("guide", "statuses", "shown"),
    [
        # The second way to delete finds nothing any more.
        ("continue-a-session.md", [202, 202, 200, 200, 200, 404], "func Reverse"),
        ("stream-a-task.md", [200, 200], '"phase":"finished"'),
    ],
)
def test_the_commands_of_a_guide_do_what_it_says(
    stack: Stack, tmp_path: Path, guide: str, statuses: list[int], shown: str
) -> None:
    done = run(stack, tmp_path, "\n".join(examples(guide, "bash")), "bash", "-euo", "pipefail")

    assert done.returncode == 0, done.stderr
    assert [int(status) for status in _HTTP_STATUS.findall(done.stdout)] == statuses, done.stdout
    assert shown in done.stdout


def test_the_client_of_the_guide_shows_the_text_and_ends_with_the_task(stack: Stack, tmp_path: Path) -> None:
    (program,) = examples("stream-a-task.md", "python")

    done = run(stack, tmp_path, program, sys.executable, "-")

    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == ["queued", "processing", "completed"]
    assert done.stdout.startswith("# Durable queues")


def failing(stack: Stack, folder: Path, script: str) -> "tuple[list[int], subprocess.CompletedProcess[str]]":
    """Runs every command, whatever those before it did, and tells the exit codes that were not 0."""
    done = run(stack, folder, f"trap 'echo \"[exit $?]\" >&2' ERR\n{script}", "bash", "-u")
    return [int(code) for code in _EXIT_CODE.findall(done.stderr)], done


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_tutorial_does_what_it_says_from_the_first_task_to_the_replay(stack: Stack, tmp_path: Path) -> None:
    shown = re.findall(r"^```bash\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    task_id = stack.submit("Write a Python function that reverses a string.")
    script = "\n".join(block for block in shown if block not in {"make up\n", 'export PATH="$PWD/.venv/bin:$PATH"\n'})
    script = re.sub(r"ID=[0-9a-f-]{36}", f"ID={task_id}", script).replace(".orchestrate/", f"{stack.data_dir}/")

    codes, done = failing(stack, tmp_path, script)

    # Nobody books flights; every other command succeeds.
    assert codes == [1], done.stderr
    assert set(_HTTP_STATUS.findall(done.stdout)) == {"200", "202"}
    for said in (
        "func Reverse",
        "budget exhausted",
        "cancelled in",
        "same      executor CodeAgent",
        "ok   wrong_history",
    ):
        assert said in done.stdout, said


@pytest.mark.long
@pytest.mark.timeout(200)
def test_the_guide_to_replays_shows_the_same_and_what_a_changed_prompt_asks(stack: Stack, tmp_path: Path) -> None:
    shutil.copy(ROOT / "app" / "agents" / "prompts" / "code_generate.md", tmp_path / "generate.md")
    with (tmp_path / "generate.md").open("a") as prompt:
        prompt.write("- Be brief.\n")
    task_id = str(stack.run("Write a Python function that reverses a string.")["task_id"])
    (workflow,) = examples("replay-a-task.md", "yaml")
    stack.client.post("/v1/workflows", content=workflow, headers={"Content-Type": "application/yaml"})
    executed = stack.client.post("/v1/workflows/pair/execute", json={}, headers={"Prefer": "wait=20"}).json()
    script = "\n".join(examples("replay-a-task.md", "bash")).replace("TASK_ID", task_id)

    codes, done = failing(stack, tmp_path, script.replace("EXECUTION_ID", executed["execution_id"]))

    assert codes == [], done.stdout + done.stderr
    assert "same      executor CodeAgent" in done.stdout
    assert "+- Be brief." in done.stdout
    assert "4 steps: 3 same, 1 told" in done.stdout


@pytest.mark.long
def test_the_guide_to_routing_asks_where_a_task_goes_is_asked_and_measures(stack: Stack, tmp_path: Path) -> None:
    (cases,) = examples("test-your-routing.md", "yaml")
    for name in ("cases.yaml", "more.yaml"):
        (tmp_path / name).write_text(cases)
    waiting = [stack.submit("Do something with this", clarify=True) for _ in range(2)]
    for task_id in waiting:
        stack.in_status(task_id, "awaiting_approval")
    # The first is answered by the command, the second over HTTP.
    script = "\n".join(examples("test-your-routing.md", "bash")).replace(EXAMPLE_ID, waiting[0], 1)

    codes, done = failing(stack, tmp_path, script.replace(EXAMPLE_ID, waiting[1]))

    assert codes == [7], done.stderr
    assert _HTTP_STATUS.findall(done.stdout) == ["200", "202", "202"]
    assert f"{waiting[0]} goes on" in done.stdout


@pytest.mark.long
def test_the_guides_to_verifying_and_to_bad_days_name_what_there_is(stack: Stack, tmp_path: Path) -> None:
    (scenario, *_) = examples("simulate-a-bad-day.md", "yaml")
    (tmp_path / "friday.yaml").write_text(scenario)
    listing = examples("simulate-a-bad-day.md", "bash")[0]

    codes, done = failing(stack, tmp_path, "\n".join([*examples("verify-a-live-system.md", "bash"), listing]))

    assert codes == [], done.stdout + done.stderr
    assert "ok   wrong_history" in done.stdout
    assert "bad-day " in done.stdout
    assert load_scenario(str(tmp_path / "friday.yaml")).name == "friday"
