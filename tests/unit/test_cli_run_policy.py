"""`orchestrate run --policy`: which policy holds, also when the run is resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.exit_codes import ExitCode
from app.cli.main import app

WORKFLOW = """
version: 1
name: release
steps:
  build: {command: [echo, built]}
  deploy: {needs: [build], command: [echo, deployed]}
outputs: {said: "${{ steps.deploy.output.stdout }}"}
"""
POLICY = """
version: 1
rules:
  - {name: deployments, applies_to: [step], when: step.path == "deploy", decide: %s}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "release.yaml").write_text(WORKFLOW, "utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY % "require_approval", "utf-8")
    (tmp_path / "strict.yaml").write_text(POLICY % "deny", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def orchestrate(*arguments: str, code: ExitCode = ExitCode.OK, **environment: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"], env=environment)
    assert result.exit_code == code, result.output + repr(result.exception)
    return json.loads(result.stdout)


@pytest.mark.long
def test_a_resumed_run_keeps_to_the_policy_that_it_began_with(folder: Path) -> None:
    waiting = orchestrate("run", "release.yaml", "--policy", "policy.yaml", code=ExitCode.AWAITING_APPROVAL)
    execution_id = waiting["execution_id"]

    again = orchestrate("resume", execution_id, code=ExitCode.AWAITING_APPROVAL)
    (folder / "policy.yaml").rename(folder / "moved.yaml")
    lost = CliRunner().invoke(app, ["resume", execution_id, "--approve", "deploy=yes"])
    done = orchestrate("resume", execution_id, "--approve", "deploy=yes", "--policy", "moved.yaml")

    assert waiting["asked"] == again["asked"] == ["deploy"]
    assert "name it with --policy" in repr(lost.exception)
    assert done["outputs"] == {"said": "deployed\n"}
    told = orchestrate("report", execution_id)
    assert told["policy"]["source"].endswith("moved.yaml")
    assert [step["policy"]["effect"] for step in told["steps"]] == ["allow", "require_approval"]


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_policy_file_holds_for_runs_and_an_invalid_one_keeps_them_from_beginning() -> None:
    denied = orchestrate("run", "release.yaml", code=ExitCode.FAILED, POLICY_FILE="strict.yaml")
    Path("strict.yaml").write_text("version: 2", "utf-8")
    invalid = CliRunner().invoke(app, ["run", "release.yaml", "--policy", "strict.yaml"])

    assert denied["error"]["type"] == "POLICY_DENIED"
    assert "strict.yaml:1:1: version" in repr(invalid.exception)
    assert len(orchestrate("report")["runs"]) == 1
