"""Executions of workflows for people: rows, the whole, its log, and what happens while it is followed."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from app.cli.following import TaskEvent
from app.cli.rendering import duration
from app.cli.run_view import outputs_as_text
from app.cli.server import Json
from app.cli.terminal import clean

_WIDE = 200
_ROW = "{:36}  {:17} {:24} {:11} {:>6}"
_STYLES = {
    "completed": "green", "succeeded": "green", "failed": "red", "cancelled": "yellow", "awaiting_approval": "yellow",
    "waiting": "yellow", "paused": "yellow", "processing": "cyan", "error": "red", "warning": "yellow",
}  # fmt: skip

_WAITS = {"approval": "waits for an approval", "event": "waits for an event", "time": "waits for a time"}


def print_executions(console: Console, executions: Iterable[Json]) -> None:
    """One row each, ids in full."""
    console.print(Text(_ROW.format("execution", "status", "workflow", "created", "done"), style="bold"))
    for one in executions:
        status, workflow = clean(one.get("status")), clean((one.get("workflow") or {}).get("name"))
        created = clean(one.get("created_at") or "-")[5:16].replace("T", " ")
        done = f"{(one.get('progress') or {}).get('percentage') or 0:.0f} %"
        row = _ROW.format(clean(one.get("execution_id")), status, workflow, created, done)
        console.print(Text(row, style=_STYLES.get(status, "")))


def print_execution(console: Console, found: Json) -> None:
    status, workflow = clean(found.get("status")), found.get("workflow") or {}
    took = duration(found)
    told = f"{status}{f' in {took:.1f} s' if took is not None else ''}"
    console.print(Text(told, style=f"bold {_STYLES.get(status, '')}".strip()))
    _line(console, "execution", found.get("execution_id"))
    _line(console, "workflow", f"{workflow.get('name')} {str(workflow.get('digest'))[:19]}")
    forked = found.get("forked_from") or {}
    _line(console, "forked", f"{forked['execution_id']} at {forked['step']}" if forked else None)
    _line(console, "error", error_of(found))
    _line(console, "cost", _cost(found.get("cost") or {}))
    print_steps(console, found.get("steps") or ())
    if found.get("steps_next"):
        console.print(Text("  and more: orchestrate executions show --json, or GET …/steps", style="dim"))
    for line in outputs_as_text(found.get("outputs")):
        console.print(line)


def print_steps(console: Console, steps: Iterable[Json]) -> None:
    for step in steps:
        status = clean(step.get("status"))
        seconds = step.get("duration_seconds")
        took = f"  {seconds:.2f} s" if isinstance(seconds, int | float) else ""
        attempt = f"  attempt {step['attempt']}" if (step.get("attempt") or 0) > 1 else ""
        error = f"  {error_of(step)}" if step.get("error") else ""
        row = Text(clean(f"  {status:17} {step.get('path')}{took}{attempt}{error}"), style=_STYLES.get(status, ""))
        row.truncate(console.width if console.is_terminal else _WIDE, overflow="ellipsis")
        console.print(row)


def print_status(console: Console, found: Json) -> None:
    status, counts = clean(found.get("status")), found.get("counts") or {}
    told = f"{status}, {found.get('progress_percentage')} %: {counts.get('ended')} of {counts.get('total')} steps ended"
    console.print(Text(told, style=_STYLES.get(status, "")))
    for step in found.get("current_steps") or ():
        waits = f" for {step['waits_for'].get('what')}" if step.get("waits_for") else ""
        console.print(Text(clean(f"  {step.get('status'):17} {step.get('path')}{waits} since {step.get('since')}")))


def print_lines(console: Console, lines: Iterable[Json]) -> None:
    for line in lines:
        path = f"{line['path']}: " if line.get("path") else ""
        told = f"{line.get('at') or '-':24}  {line.get('level'):7}  {path}{line.get('message')}"
        console.print(Text(clean(told), style=_STYLES.get(str(line.get("level")), "")))


def print_event(console: Console, event: TaskEvent) -> None:
    """One line for what has just happened."""
    data = event.data
    if event.status is not None:
        console.print(Text(clean(f"execution {event.status}"), style=_STYLES.get(event.status, "")))
    elif event.kind == "step":
        end = str(data.get("end") or _WAITS.get(str(data.get("waits_for"))) or "began")
        because = f": {data['error_type']}: {data['error_message']}" if data.get("error_type") else ""
        console.print(Text(clean(f"  {data.get('path')} {end}{because}"), style=_STYLES.get(end, "dim")))


def error_of(found: Json) -> str | None:
    error = found.get("error")
    if not isinstance(error, dict):
        return None
    where = f"{error['path']}: " if error.get("path") else ""
    return f"{where}{error.get('type')}: {error.get('message')}"


def _cost(cost: Json) -> str | None:
    return f"{cost['total_tokens']} tokens, ${cost.get('usd') or 0:.6f}" if cost.get("total_tokens") else None


def _line(console: Console, name: str, value: Any) -> None:
    if value:
        console.print(Text.assemble((f"{name + ':':10} ", "dim"), clean(value)))
