import io
import re
from typing import Any

import pytest
from rich.console import Console

from app.cli.following import TaskEvent
from app.cli.progress import Draft, Progress, described


def token(text: str, *, run: str = "r", call: int = 1) -> TaskEvent:
    return TaskEvent("token", {"run_id": run, "call": call, "text": text})


GAP = TaskEvent("token", {"gap": True, "text": ""})
RESTARTED = TaskEvent("run", {"phase": "restarted", "attempt": 2})


def draft_of(*events: TaskEvent) -> str:
    draft = Draft()
    for event in events:
        draft.take(event)
    return draft.text


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([token("Once "), token("upon")], "Once upon"),
        ([token("a plan"), token("the text", call=2)], "the text"),
        ([token("half of"), RESTARTED], ""),
        ([token("half of"), RESTARTED, token("the whole", run="s")], "the whole"),
        ([token("Once "), GAP, token("time")], "Once  […] time"),
        ([token("red \x1b[31m"), token("\x07alarm")], "red [31malarm"),
    ],
)
def test_the_draft_is_what_the_latest_answer_has_so_far(events: list[TaskEvent], text: str) -> None:
    assert draft_of(*events) == text


def test_a_draft_of_any_length_stays_small() -> None:
    assert len(draft_of(*(token("x" * 1000) for _ in range(100)))) < 20_000


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (TaskEvent("tool", {"tool": "web_search", "phase": "started"}), "tool: web_search started"),
        (TaskEvent("tool", {"tool": "web_search", "phase": "finished", "status": "failed"}), "tool: web_search failed"),
        (RESTARTED, "starting again (attempt 2)"),
        (token("x"), None),
    ],
)
def test_what_happens_in_between_is_a_line(event: TaskEvent, line: str | None) -> None:
    assert described(event) == line


class Screen:
    """A terminal and what was written to it."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._file = io.StringIO()
        self.console = Console(file=self._file, force_terminal=is_terminal, width=40, height=10, color_system=None)

    @property
    def written(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._file.getvalue())


@pytest.fixture
def terminal() -> Screen:
    return Screen(is_terminal=True)


def test_a_terminal_shows_the_end_of_the_text_while_it_is_written(terminal: Screen) -> None:
    progress = Progress(terminal.console)

    with progress.shown() as display:
        for number in range(100):
            progress.watch(token(f"line {number}\n"))
        refresh: Any = display
        refresh.refresh()

    assert progress.is_live
    assert "line 99" in terminal.written
    assert "line 50" not in terminal.written


def test_elsewhere_nothing_but_lines_is_written() -> None:
    screen = Screen(is_terminal=False)
    progress = Progress(screen.console)

    with progress.shown():
        progress.watch(TaskEvent("message", {"status": "processing"}))
        progress.watch(token("Once"))

    assert not progress.is_live
    assert screen.written == "processing\n"
