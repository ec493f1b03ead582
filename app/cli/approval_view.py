"""Approvals for people: rows, and one with all that was said about it."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from app.cli.server import Json
from app.cli.terminal import clean

_WIDE = 60
_ROW = "{:36}  {:10} {:5} {:12} {:11} {}"
_STYLES = {"pending": "yellow", "approved": "green", "rejected": "red", "expired": "red"}


def print_approvals(console: Console, approvals: Iterable[Json]) -> None:
    """One row each, ids in full."""
    console.print(Text(_ROW.format("approval", "status", "votes", "asked by", "created", "what"), style="bold"))
    for one in approvals:
        status, subject = clean(one.get("status")), one.get("subject") or {}
        row = _ROW.format(
            clean(one.get("approval_id")),
            status,
            f"{one.get('votes')}/{one.get('quorum')}",
            clean(one.get("requested_by"))[:12],
            _time(one.get("created_at")),
            clean(f"{subject.get('title')}: {one.get('message') or subject.get('reason')}".replace("\n", " "))[:_WIDE],
        )
        console.print(Text(row, style=_STYLES.get(status, "")))


def print_approval(console: Console, found: Json) -> None:
    status, subject = clean(found.get("status")), found.get("subject") or {}
    told = f"{status}, version {found.get('version')}: {found.get('votes')} of {found.get('quorum')} have approved"
    console.print(Text(clean(told), style=f"bold {_STYLES.get(status, '')}".strip()))
    _line(console, "approval", found.get("approval_id"))
    _line(console, "what", f"{subject.get('kind')} {subject.get('title')}")
    _line(console, "why", subject.get("reason"))
    _line(console, "message", found.get("message"))
    for name, value in (subject.get("ids") or {}).items():
        _line(console, name.removesuffix("_id"), value)
    _line(console, "asked by", found.get("requested_by"))
    _line(console, "approvers", ", ".join(found.get("approvers") or ()) or "any key that may write")
    _line(console, "until", found.get("expires_at"))
    _line(console, "you", "may decide it" if found.get("may_decide") else "may not decide it")
    _fields(console, found.get("form") or {})
    for one in found.get("delegations") or ():
        _line(console, "delegated", f"{one.get('by')} to {one.get('to')}  {one.get('comment')}")
    for one in found.get("decisions") or ():
        _line(console, str(one.get("decision")), f"by {one.get('by')}  {one.get('comment')}")
    _text(console, "input", found.get("input"))
    _text(console, "edited", (found.get("edit") or {}).get("diff"))


def _fields(console: Console, form: Mapping[str, Any]) -> None:
    required = form.get("required") or ()
    for name, schema in (form.get("properties") or {}).items():
        need = "" if name in required else "  optional"
        _line(console, "form", f"{name}: {schema.get('type', 'any')}{need}  {schema.get('description', '')}")


def _line(console: Console, name: str, value: object) -> None:
    if value:
        console.print(Text(f"  {clean(name):10} {clean(value).rstrip()}"))


def _text(console: Console, name: str, text: object) -> None:
    if text:
        _line(console, name, "—")
        console.print(Text(clean(text)))


def _time(moment: object) -> str:
    return clean(moment or "-")[5:16].replace("T", " ")
