"""The workflows of the library, run offline as the tutorial shows them, and what they do on worse days."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.exit_codes import ExitCode
from app.cli.main import app
from app.devstack.source import with_source
from app.workflows.shelf import library_names
from tests.architecture.tree import ROOT
from tests.processes import Server

TUTORIAL = (ROOT / "docs" / "tutorials" / "workflows.md").read_text("utf-8")
FILES = re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
NAMES = [name for command in COMMANDS for name in re.findall(r"library:([\w-]+)", command)]
OUTPUTS = re.findall(r"^```text\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
CUT = re.compile(r"\s*…\s*")
PATIENCE = 120
RULES = [{"rule": "required", "column": "amount"}, {"rule": "range", "column": "amount", "min": 0}]


@pytest.mark.long
@pytest.mark.timeout(PATIENCE + 10)
@pytest.mark.parametrize(("command", "output"), list(zip(COMMANDS, OUTPUTS, strict=True)), ids=NAMES)
def test_a_command_of_the_tutorial_prints_what_it_shows_without_key_server_or_database(
    tmp_path: Path, command: str, output: str
) -> None:
    for name, content in FILES:
        (tmp_path / name).write_text(content)
    bash = shutil.which("bash") or pytest.skip("the tutorial is written for bash")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        [bash, "-euo", "pipefail", "-c", command],
        cwd=tmp_path,
        env=with_source({**os.environ, "PATH": path, "NO_COLOR": "1"}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    shown = ".*".join(map(re.escape, CUT.split(output.rstrip())))
    assert re.fullmatch(shown, done.stdout.rstrip(), re.DOTALL), done.stdout


def test_the_tutorial_runs_every_workflow_of_the_library() -> None:
    assert sorted(set(NAMES)) == library_names()


@dataclass(frozen=True)
class Ran:
    """What `orchestrate run --json` told, and where the evidence is."""

    exit_code: int
    told: dict[str, Any]

    @property
    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = self.told["outputs"]
        return found

    @property
    def folder(self) -> Path:
        return Path(self.told["evidence"])

    def given(self, path: str) -> Any:
        """What a step was given."""
        return json.loads((self.folder / "steps" / path / "input.json").read_text())["with"]

    def was_carried_out(self, path: str) -> bool:
        return (self.folder / "steps" / path / "input.json").is_file()


Start = Callable[..., Ran]


@pytest.fixture
def start(simulator: Server, tmp_path: Path) -> Start:
    """Runs a workflow of the library in this process, with the test session's simulator."""
    variables = {
        "DATA_DIR": str(tmp_path),
        "OPENAI_BASE_URL": f"{simulator.http_url}/v1",
        "OPENAI_API_KEY": "sk-simulated",
        "TAVILY_BASE_URL": simulator.http_url,
        "TAVILY_API_KEY": "tvly-simulated",
        "NO_COLOR": "1",
    }

    def run(name: str, *options: str, **inputs: Any) -> Ran:
        given = [f"--input={member}={json.dumps(value)}" for member, value in inputs.items()]
        argv = ["run", f"library:{name}", "--json", *given, *options]
        done = CliRunner().invoke(app, argv, env=variables)
        return Ran(done.exit_code, json.loads(done.stdout) if done.stdout else pytest.fail(done.output))

    return run


def test_a_table_that_breaks_a_rule_is_told_of_and_not_analysed(start: Start) -> None:
    table = "order,region,amount\n1,north,10\n2,south,-5\n3,north,\n"

    ran = start("data-pipeline", csv=table, rules=RULES, group_by="region", measure="amount")

    assert ran.exit_code == ExitCode.OK
    assert not ran.outputs["accepted"]
    assert sorted(one["line"] for one in ran.outputs["violations"]) == [3, 4]
    assert ran.given("rejected") == {"violations": ran.outputs["violations"]}
    assert ran.outputs["groups"] is ran.outputs["rows"] is ran.outputs["summary"] is None
    assert not ran.was_carried_out("profile")


def test_a_review_loop_that_never_gets_clean_ends_at_its_bound(start: Start) -> None:
    # The simulated coder writes the purpose into the code, where the simulated reviewer finds it every time.
    ran = start("review-loop", code="print(eval(input()))\n", purpose="Tell what eval(x) of some words would do")

    assert ran.exit_code == ExitCode.FAILED
    assert ran.told["error"]["type"] == "LOOP_EXHAUSTED"
    assert ran.was_carried_out("improve[3].fix")
    assert not ran.was_carried_out("improve[4].review")


@pytest.mark.parametrize(
    ("check", "said"), [("assert False", "AssertionError"), ("raise SystemExit(0)", "ended before its check did")]
)
def test_an_agent_that_says_it_is_done_does_not_empty_the_list_while_its_check_is_red(
    start: Start, check: str, said: str
) -> None:
    impossible = {"id": "never", "task": "Write a Python function that reverses a string.", "check": check}

    ran = start("verified-drain", items=[impossible])

    assert ran.exit_code == ExitCode.FAILED
    assert ran.told["error"]["type"] == "LOOP_EXHAUSTED"
    believed = json.loads((ran.folder / "steps" / "drain[4].left" / "output.json").read_text())["believed"]
    assert believed == ["never"] * 4
    assert said in ran.given("drain[2].attempts[0].write")["task"]


def test_a_question_without_an_answer_does_not_take_the_others_with_it(start: Start) -> None:
    refused = "photosynthesis [[sim error=400 role=writer]]"
    # For verse the agent looks nothing up, and so cites nothing.
    unsourced = "rain, as a haiku"

    ran = start("fan-out-research", questions=["renewable energy", refused, unsourced, "vaccines"])

    assert ran.exit_code == ExitCode.OK
    assert ran.outputs["answered"] == 2
    assert len(ran.outputs["failures"]) == 2
    assert ran.was_carried_out("findings[2].cited")
    assert not ran.was_carried_out("findings[2].answer")
    report = ran.outputs["report"]
    assert report.index("# renewable energy") < report.index("# vaccines")
    assert report.count("](https://docs.example.com/") >= 2
    assert "hotosynthesis turns" not in report


def test_a_refund_above_the_limit_waits_for_a_person(start: Start) -> None:
    ticket = {"id": "T-1", "text": "Please refund my order, amount: 250 EUR."}

    waiting = start("support-triage", ticket=ticket)
    within = start("support-triage", ticket=ticket, refund_limit=300)

    assert waiting.exit_code == ExitCode.AWAITING_APPROVAL
    assert not waiting.was_carried_out("handle.reply")
    assert within.exit_code == ExitCode.OK
    assert not within.was_carried_out("handle.consent")
    assert within.outputs["reply"] == "Your money is on its way."


def test_a_bug_report_goes_to_the_engineers_and_praise_to_nobody(start: Start) -> None:
    bug = start("support-triage", ticket={"id": "T-2", "text": "There is a bug: the page crashes."})
    praise = start("support-triage", ticket={"id": "T-3", "text": "I have nothing but praise for you."})

    assert bug.given("handle.report") == {"ticket": "T-2", "text": "There is a bug: the page crashes."}
    assert praise.outputs["label"] == "praise"
    assert not praise.was_carried_out("handle.report")
    assert praise.given("finally.notify") == {"ticket": "T-3", "ok": True}


def test_code_is_handed_over_only_as_what_the_sub_workflows_promise(start: Start) -> None:
    ran = start("design-plan-implement", brief="Component: reverser. Purpose: reverse a string. Language: python.")
    unreadable = start("design-plan-implement", brief="Build something nice.")

    assert ran.exit_code == ExitCode.OK
    assert [file["path"] for file in ran.outputs["files"]] == ["main.py", "test_main.py"]
    assert ran.given("implement.build[0].write")["task"] == "Write a python function to reverse a string."
    assert unreadable.exit_code == ExitCode.FAILED
    assert unreadable.told["error"]["path"].startswith("design.facts")
    assert not unreadable.was_carried_out("plan.risk")
