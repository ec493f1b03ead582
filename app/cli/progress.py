"""What is shown of a task while it runs: on a terminal the text as it is written, elsewhere a line per status."""

from contextlib import AbstractContextManager, nullcontext

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from app.cli.following import TaskEvent
from app.cli.terminal import clean

_GAP = " […] "
_MOST_SHOWN = 16 * 1024
_LINES_BELOW = 4
_REFRESHES = 12


class Draft:
    """The text that is being written; another answer, or another attempt, begins it anew."""

    def __init__(self) -> None:
        self.text = ""
        self._source: tuple[object, ...] = ()

    def take(self, event: TaskEvent) -> None:
        if event.kind == "run" and event.data.get("phase") == "restarted":
            self.text = ""
        if event.kind == "token":
            source = tuple(event.data.get(name) for name in ("run_id", "call"))
            is_gap = bool(event.data.get("gap"))
            if source != self._source and not is_gap:
                self.text, self._source = "", source
            self.text = (self.text + (_GAP if is_gap else clean(event.data.get("text", ""))))[-_MOST_SHOWN:]


class Progress:
    """``is_live`` when what happens between two status changes is of use here."""

    def __init__(self, console: Console) -> None:
        self.is_live = console.is_terminal
        self._console = console
        self._draft = Draft()
        self._spinner = Spinner("dots", "submitted")

    def shown(self) -> AbstractContextManager[object]:
        if not self.is_live:
            return nullcontext()
        # Transient: the answer is printed in its final form when the task has ended.
        return Live(console=self._console, get_renderable=self._render, transient=True, refresh_per_second=_REFRESHES)

    def watch(self, event: TaskEvent) -> None:
        self._draft.take(event)
        line = described(event)
        if line is not None:
            self._spinner.update(text=Text(line))
            self._console.print(Text(line, style="dim"))

    def _render(self) -> RenderableType:
        if not self._draft.text:
            return self._spinner
        lines = Text(self._draft.text).wrap(self._console, self._console.width)
        return Group(Text("\n").join(lines[-max(self._console.height - _LINES_BELOW, 1) :]), self._spinner)


def described(event: TaskEvent) -> str | None:
    """One line for people, or None for what is too small to mention (tokens)."""
    data = event.data
    if event.status is not None:
        error = data.get("error_type")
        return clean(f"{event.status}{f' ({error})' if error else ''}")
    if event.kind == "run" and data.get("phase") == "restarted":
        return clean(f"starting again (attempt {data.get('attempt')})")
    if event.kind in {"message", "token"}:
        return None
    details = (data.get(name) for name in ("agent_name", "agent_role", "tool"))
    how_far = data.get("status") or data.get("phase")
    return clean(" ".join([f"{event.kind}:", *(str(detail) for detail in (*details, how_far) if detail)]))
