"""A task for people: what was decided, the answer with its sources, and what it cost."""

import importlib
from collections.abc import Iterable
from datetime import datetime

from rich.console import Console, RenderableType
from rich.text import Text

from app.agents.markdown import summarize
from app.cli.server import Json
from app.cli.terminal import clean
from app.cli.verdict import print_verdict

_WIDE = 200
_COLUMNS = "{:36}  {:17} {:18} {:11}  {}"
_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "awaiting_approval": "yellow"}


def print_task(console: Console, task: Json) -> None:
    console.print(_headline(task))
    _line(console, "task", task.get("task_id"))
    _line(console, "routing", _routing(task))
    _line(console, "error", _error(task))
    _line(console, "waits", (task.get("hold") or {}).get("message"))
    _line(console, "cost", _cost(task))
    result = task.get("result") or task.get("result_under_review") or {}
    _print_result(console, result)
    if verdict := result.get("evaluation"):
        print_verdict(console, verdict)
    if review := task.get("review"):
        _line(console, "review", f"{review.get('decision')} {review.get('comment') or ''}".rstrip())


def print_tasks(console: Console, tasks: Iterable[Json]) -> None:
    """One row each, ids in full; on a terminal the summary is cut to what fits."""
    width = console.width if console.is_terminal else _WIDE
    console.print(Text(_COLUMNS.format("task", "status", "agent", "created", "summary"), style="bold"))
    for task in tasks:
        cells = (clean(task.get(name) or "-") for name in ("task_id", "status", "selected_agent"))
        created = clean(task.get("created_at") or "-")[5:16].replace("T", " ")
        summary = " ".join(clean(task.get("summary") or "").split())
        row = Text(_COLUMNS.format(*cells, created, summary), style=_STYLES.get(str(task.get("status")), ""))
        row.truncate(width, overflow="ellipsis")
        console.print(row)


def print_dead_letters(console: Console, letters: Iterable[Json]) -> None:
    """One row each, ids in full; on a terminal the message is cut to what fits."""
    layout = "{:36}  {:11}  {:18} {:22} {:>8}  {}"
    _print_row(console, layout.format("task", "failed", "agent", "error", "attempts", "message"), "bold")
    for letter in letters:
        error = letter.get("error") or {}
        cells = (letter.get("selected_agent") or "-", error.get("type") or "-", letter.get("attempts"))
        message = " ".join(clean(error.get("message") or "").split())
        told = layout.format(clean(letter.get("task_id")), _when(letter, "failed_at"), *map(clean, cells), message)
        _print_row(console, told)


def print_dead_letter(console: Console, letter: Json) -> None:
    error = letter.get("error") or {}
    _print_row(console, f"failed {clean(letter.get('failed_at'))}", "bold red")
    _line(console, "task", letter.get("task_id"))
    _line(console, "agent", letter.get("selected_agent"))
    _line(console, "error", f"{error.get('type')}: {error.get('message')}")
    for entry in letter.get("history") or ():
        why = f" ({entry['error'].get('type')})" if entry.get("error") else ""
        told = f"{entry.get('seq'):>4}  {entry.get('at')}  {entry.get('status'):10} {entry.get('reason')}{why}"
        console.print(Text(clean(told), style="dim"))


def print_sessions(console: Console, sessions: Iterable[Json]) -> None:
    layout = "{:36}  {:11}  {:11}  {}"
    _print_row(console, layout.format("session", "active", "expires", "summary"), "bold")
    for session in sessions:
        summary = "yes" if session.get("has_summary") else "no"
        times = (_when(session, "last_activity_at"), _when(session, "expires_at"))
        _print_row(console, layout.format(clean(session.get("session_id")), *times, summary))


def print_session(console: Console, session: Json) -> None:
    _print_row(console, f"session {clean(session.get('session_id'))}", "bold")
    for name, field in (("begun", "created_at"), ("active", "last_activity_at"), ("expires", "expires_at")):
        _line(console, name, session.get(field))
    _line(console, "tasks", session.get("task_count"))
    _line(console, "messages", str(session.get("message_count")))
    _line(console, "summary", "of older turns" if session.get("has_summary") else "none yet")
    cost = session.get("cost") or {}
    _line(console, "cost", f"{cost.get('tokens')} tokens, ${cost.get('usd') or 0:.6f}")


def print_effects(console: Console, effects: Iterable[Json]) -> None:
    layout = "{:36}  {:11}  {:9} {:>5}  {}"
    _print_row(console, layout.format("key", "sent", "status", "times", "effect"), "bold")
    for effect in effects:
        status = "uncertain" if effect.get("is_uncertain") else effect.get("status")
        step = f" ({clean(effect['step'])})" if effect.get("step") else ""
        cells = map(clean, (effect.get("key"), _when(effect, "fired_at"), status, effect.get("attempts")))
        _print_row(
            console,
            layout.format(*cells, clean(effect.get("name")) + step),
            "yellow" if status == "uncertain" else "",
        )


def _print_row(console: Console, text: str, style: str = "") -> None:
    row = Text(text, style=style)
    row.truncate(console.width if console.is_terminal else _WIDE, overflow="ellipsis")
    console.print(row)


def _when(item: Json, name: str) -> str:
    return clean(item.get(name) or "-")[5:16].replace("T", " ")


def _headline(task: Json) -> Text:
    status = clean(task.get("status"))
    agent = f" by {clean(task['selected_agent'])}" if task.get("selected_agent") else ""
    seconds = duration(task)
    took = f" in {seconds:.1f} s" if seconds is not None else ""
    return Text(f"{status}{agent}{took}", style=f"bold {_STYLES.get(status, '')}".strip())


def duration(task: Json) -> float | None:
    """Seconds from acceptance to the end."""
    try:
        begun, ended = (datetime.fromisoformat(task[name]) for name in ("created_at", "completed_at"))
    except (KeyError, TypeError, ValueError):
        return None
    return (ended - begun).total_seconds()


def _routing(task: Json) -> str | None:
    routing = task.get("routing") or {}
    reason = task.get("peer_routing_reason") or routing.get("reasoning")
    confidence = routing.get("confidence")
    if reason and isinstance(confidence, int | float):
        return f"{reason} (confidence {confidence:.2f})"
    return reason


def _error(task: Json) -> str | None:
    error = task.get("error")
    return f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else None


def _cost(task: Json) -> str | None:
    cost = task.get("cost")
    if not isinstance(cost, dict) or not cost.get("total_tokens"):
        return None
    tokens = f"{cost['total_tokens']} tokens ({cost.get('prompt_tokens')} in, {cost.get('completion_tokens')} out)"
    usd = cost.get("usd_estimate")
    return f"{tokens}, ${usd:.6f}" if isinstance(usd, int | float) else tokens


def _print_result(console: Console, result: Json) -> None:
    body = clean(result.get("raw_output") or "")
    summary = clean(result.get("summary") or "")
    # A summary is plain text; the sentence it was taken from may be marked up.
    if summary.strip() not in body and summary != summarize(body):
        console.print(Text(f"\n{summary}"))
    if body:
        console.print()
        console.print(_body(console, body, result.get("code_language")))
    for artifact in result.get("artifacts") or ():
        told = f"  {artifact.get('name')} - {artifact.get('size')} bytes, {artifact.get('sha256')}"
        console.print(Text(clean(told)))
    for note in result.get("notes") or ():
        console.print(Text(f"  {clean(note)}", style="dim"))
    for number, citation in enumerate(result.get("citations") or (), start=1):
        console.print(Text(f"  [{number}] {clean(citation.get('title'))} - {clean(citation.get('url'))}"))


def _body(console: Console, body: str, language: object) -> RenderableType:
    """As it is; on a terminal with what it means made visible."""
    if not console.is_terminal:
        return Text(body)
    # Loaded only here: what reads Markdown and code costs a command that prints a list a tenth of its start.
    shown: RenderableType = importlib.import_module("app.cli.markup").shown(body, language)
    return shown


def _line(console: Console, name: str, value: object) -> None:
    if value:
        console.print(Text.assemble((f"{name + ':':8} ", "dim"), clean(value)))
