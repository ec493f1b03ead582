"""The attempts at a task or a step, for people."""

from datetime import datetime

from rich.console import Console
from rich.text import Text

from app.cli.server import Json
from app.cli.terminal import clean

_ROW = "{:>3}  {:>6}  {:>6}  {:19}  {:>8}  {:16} {:18} {:>10}  {:6}  {:24}  {}"
_TITLES = (
    "#", "series", "number", "started", "seconds", "outcome", "agent", "usd", "replay", "worker", "error"
)  # fmt: skip
_STYLES = {"completed": "green", "failed": "red", "worker_lost": "red", "cancelled": "yellow"}


def print_attempts(console: Console, found: Json) -> None:
    """One row each; an uncharged attempt has its number in brackets."""
    console.print(Text(_ROW.format(*_TITLES), style="bold"))
    for one in found.get("items") or ():
        console.print(Text(_row(one), style=_STYLES.get(str(one.get("outcome")), "")), soft_wrap=True)
    if found.get("next_cursor") is not None:
        console.print(Text(f"there are more: --after {found['next_cursor']}", style="dim"))


def _row(one: Json) -> str:
    number, error = clean(one.get("number")), one.get("error") or {}
    cells = (
        clean(one.get("seq")),
        clean(one.get("series")),
        number if one.get("charged") else f"({number})",
        clean(one.get("started_at"))[:19].replace("T", " "),
        _seconds(one),
        clean(one.get("outcome")),
        clean(one.get("agent") or "-"),
        _usd(one),
        "yes" if one.get("replayable") else "no",
        clean(one.get("worker") or "-"),
        clean(error.get("type") or "-"),
    )
    return _ROW.format(*cells)


def _seconds(one: Json) -> str:
    try:
        took = datetime.fromisoformat(one["ended_at"]) - datetime.fromisoformat(one["started_at"])
    except (KeyError, TypeError, ValueError):
        return "-"
    return f"{took.total_seconds():.1f}"


def _usd(one: Json) -> str:
    usd = (one.get("cost") or {}).get("usd")
    return f"{usd:.6f}" if isinstance(usd, int | float) else "-"
