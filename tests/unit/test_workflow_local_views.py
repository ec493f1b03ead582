import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.run_people import approval_of
from app.cli.run_view import described, tree_of
from app.errors import Invalid
from app.workflows.diagram.colours import FILLS
from app.workflows.diagram.mermaid import mermaid_of
from app.workflows.local.history import History
from app.workflows.local.journal import read_journal
from app.workflows.local.reporting import as_markdown, report_of
from tests.local_run_builders import LocalRun

CHOOSING = """
version: 1
name: choosing
inputs: {kind: {type: string, enum: [good, bad]}}
steps:
  choose:
    switch: inputs.kind
    cases:
      good: {steps: {thank: {emit: thanked}, tell: {needs: [thank], transform: {text: "a | b"}}}}
      bad: {steps: {tell: {emit: told}}}
"""


async def _ended(folder: Path, kind: str) -> tuple[LocalRun, History]:
    run = LocalRun(folder, CHOOSING)
    await run.start(kind=kind)
    return run, History.of(read_journal(run.folder / "events.jsonl"))


@pytest.mark.parametrize(("kind", "marked"), [("good", 2), ("bad", 1)])
async def test_only_the_case_that_was_taken_is_drawn_as_done(tmp_path: Path, kind: str, marked: int) -> None:
    run, history = await _ended(tmp_path, kind)
    console = Console(width=100, record=True, file=io.StringIO())

    console.print(tree_of(run.definition.plan, history))
    drawn = mermaid_of(run.definition.plan, {path: step.end or "" for path, step in history.steps.items()})

    # The switch itself is one more.
    assert console.export_text().count("✓") == marked + 1
    assert drawn.count(" succeeded\n") == marked + 1
    assert drawn.count("subgraph") == 3


async def test_a_report_says_what_ran_and_keeps_its_table_whole(tmp_path: Path) -> None:
    _, history = await _ended(tmp_path, "good")

    report = report_of(history, inputs={"kind": "good"}, outputs={})

    assert [(step["path"], step["end"]) for step in report["steps"]] == [
        ("choose.thank", "succeeded"),
        ("choose.tell", "succeeded"),
        ("choose", "succeeded"),
    ]
    rows = [line for line in as_markdown(report).splitlines() if line.startswith("|")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {9}


def test_events_are_told_without_what_steers_a_terminal() -> None:
    event = {"event": "step.ended", "path": "one", "end": "failed", "error": {"type": "X", "message": "\x1b[2Jgone"}}

    assert described(event) == "one: failed (X: [2Jgone)"


@pytest.mark.parametrize("answer", ["maybe", '{"approved": "yes"}', '{"approved": true, "extra": 1}', "[]"])
def test_an_answer_that_is_none_is_refused(answer: str) -> None:
    with pytest.raises(Invalid, match="--approve consent"):
        approval_of("consent", answer)


def test_a_run_is_drawn_with_how_far_its_steps_are(tmp_path: Path) -> None:
    file, folder = tmp_path / "choosing.yaml", ["--data-dir", str(tmp_path)]
    file.write_text(CHOOSING.replace("{thank: {emit: thanked}", "{thank: {approval: {}}"))
    begun = CliRunner().invoke(app, ["run", str(file), "--input", "kind=good", "--json", *folder])

    drawn = CliRunner().invoke(app, ["graph", json.loads(begun.stdout)["execution_id"], "--format", "svg", *folder])

    assert (begun.exit_code, drawn.exit_code) == (7, 0)
    assert drawn.stdout.startswith("<svg ")
    assert ">? waiting</text>" in drawn.stdout
    assert drawn.stdout.count(FILLS["waiting"]) == 1
