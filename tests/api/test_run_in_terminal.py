"""`orchestrate run` in a terminal: the tree that changes while it goes on, and questions in between."""

from pathlib import Path

import pytest

from tests.terminals import command_in_terminal

WORKFLOW = """
version: 1
name: publish
steps:
  draft: {transform: {text: hello}}
  consent:
    needs: [draft]
    approval: {message: "Publish ${{ steps.draft.output.text }}?", form: {note: {type: string}}, quorum: 2}
  release:
    needs: [consent]
    wait: {event: go}
outputs: {note: "${{ steps.consent.output.form.note }}"}
"""
pytestmark = pytest.mark.slow


async def test_a_run_is_watched_as_a_tree_and_people_are_asked_in_the_middle_of_it(tmp_path: Path) -> None:
    (tmp_path / "publish.yaml").write_text(WORKFLOW)

    with command_in_terminal(tmp_path, "run", "publish.yaml", "--watch", environment={"NO_COLOR": "1"}) as screen:
        begun = await screen.shows("1 of 2 who have to approve")
        for question, answer in (
            ("your name", "ann"), ("yes or no", "yes"), ("note: ", "draft"), ("comment", ""),
            ("2 of 2", "bob"), ("yes or no", "yes"), ("note: ", "fine"), ("comment", "well done"),
                ("waits for the event go", "1"),
        ):  # fmt: skip
            await screen.shows_next(question)
            screen.types(answer)
        everything = await screen.rest()
        code = await screen.exit_code()

    assert "✓ draft" in begun
    assert "Publish hello?" in begun
    assert "… consent" in begun
    assert everything.index("… release") < everything.index("✓ release")
    assert "\nnote: fine\n" in everything
    assert code == 0


async def test_a_run_that_is_not_watched_tells_its_steps_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text("{version: 1, name: short, steps: {draft: {transform: {a: 1}}}}")

    with command_in_terminal(tmp_path, "run", "short.yaml", "--no-watch", environment={}) as screen:
        everything = await screen.rest()
        code = await screen.exit_code()

    assert "draft: started\ndraft: succeeded\n" in everything
    assert "✓" not in everything
    assert code == 0
