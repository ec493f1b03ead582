"""What `orchestrate evaluate` refuses before it asks anybody, and how a verdict looks."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from app.cli.exit_codes import code_of_error
from app.cli.main import app
from app.cli.rendering import print_task
from app.errors import OrchestratorError

RUBRIC = {"criteria": [{"name": "subject", "description": "It is about a harbour."}]}
GOOD = {"checks": [{"type": "length", "min_words": 5}], "rubric": RUBRIC}
UNKNOWN = {"checks": [{"type": "evaluator", "name": "absent"}]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_PLUGINS", "none")


def write(name: str, value: Any) -> str:
    Path(name).write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return name


def error_of(*arguments: str) -> str:
    """What the command says of wrong usage, on one line."""
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert isinstance(result.exception, OrchestratorError), result.output
    assert code_of_error(result.exception) == 2
    return result.exception.message


@pytest.mark.parametrize(
    ("target", "wanted", "said"),
    [
        ({"raw_output": "x"}, {"checks": []}, "give at least one check or a rubric"),
        ({"raw_output": "x"}, "{", "checks.json: it is not JSON"),
        ({"raw_output": "x"}, [], "checks.json"),
        ({"raw_output": "x"}, UNKNOWN, "there is no evaluator of this name"),
        ({"input_text": "x", "result": None}, GOOD, "target.json: there is no `result` to evaluate"),
        ({"raw_output": 7}, GOOD, "target.json: raw_output: Input should be a valid string"),
        ({"raw_output": "x", "files": [{"path": "a"}]}, GOOD, "files.0.content: Field required"),
        ([], GOOD, "target.json"),
        ("[" * 100_000, GOOD, "target.json: it is not JSON"),
    ],
)
def test_what_cannot_be_evaluated_is_wrong_usage(target: Any, wanted: Any, said: str) -> None:
    assert said in error_of(write("target.json", target), "--evaluation", f"@{write('checks.json', wanted)}")


def test_files_that_are_not_there_or_not_named_as_files_are_told() -> None:
    write("checks.json", GOOD)
    write("r.json", {"raw_output": "x"})

    assert "gone.json: No such file" in error_of("gone.json", "--evaluation", "@checks.json")
    assert "gone.json: No such file" in error_of("r.json", "--evaluation", "@gone.json")
    assert "write @FILE" in error_of("r.json", "--evaluation", "checks.json")


@pytest.mark.parametrize(
    ("cases", "wanted", "said"),
    [
        ("", GOOD, "there is no case"),
        ("{}", GOOD, "cases.jsonl:1: output: Field required"),
        ('{"output": "x", "scores": {}}', GOOD, "cases.jsonl:1: scores"),
        ('{"output": "x", "scores": {"subject": 6}}', GOOD, "cases.jsonl:1: scores.subject"),
        ('\n{"output": "x", "scores": {"style": 1}}', GOOD, "cases.jsonl:2: no criterion 'style' is in the rubric"),
        ('{"output": "x", "scores": {"subject": 1}}', {"checks": [{"type": "no_secrets"}]}, "there is no `rubric`"),
    ],
)
def test_cases_that_are_none_are_wrong_usage(cases: str, wanted: Any, said: str) -> None:
    path = write("cases.jsonl", cases)

    assert said in error_of("calibrate", path, "--evaluation", f"@{write('checks.json', wanted)}")


def test_the_word_output_may_be_left_out_and_options_may_come_first() -> None:
    wanted = f"@{write('checks.json', UNKNOWN)}"

    for arguments in (("gone.json", "--evaluation", wanted), ("output", "--evaluation", wanted, "gone.json")):
        assert "no evaluator of this name" in error_of(*arguments)
    assert "no evaluator of this name" in error_of("--evaluation", wanted, "gone.json")
    assert CliRunner().invoke(app, ["evaluate", "--help"]).exit_code == 0


def test_a_verdict_is_shown_with_what_failed_and_no_escape_of_somebodys() -> None:
    evaluation = {
        "passed": False,
        "score": 0.5,
        "threshold": 0.7,
        "rounds": 2,
        "checks": [
            {"name": "length", "passed": True, "score": 1.0, "message": ""},
            {"name": "forbidden", "passed": False, "score": 0.0, "message": "it holds\n\x1b[31mwhat is forbidden"},
        ],
        "criteria": [{"name": "style", "score": 0.75, "reason": "It is terse."}],
    }
    task = {"task_id": "t", "status": "awaiting_approval", "result_under_review": {"evaluation": evaluation}}
    text = StringIO()

    print_task(Console(file=text, width=200), task)

    lines = text.getvalue().splitlines()
    assert "evaluation failed: 0.50 of 0.70 needed after 2 rounds" in lines
    assert "  1.00  length" in lines
    assert "  0.75  style: It is terse." in lines
    assert "\x1b" not in text.getvalue()
    assert any(line.startswith("  0.00  forbidden: it holds") for line in lines)
