"""Approvals and events for a run: as options give them, else as the person at the terminal answers."""

import asyncio
import getpass
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.text import Text

from app.cli.terminal import clean, err
from app.errors import Invalid
from app.workflows.local.people import Awaited, People, Question
from app.workflows.steps.approvals import Approval

_YES, _NO = frozenset({"yes", "y", "true"}), frozenset({"no", "n", "false"})


def people_of(
    approvals: Iterable[str], events: Iterable[str], *, before: Callable[[], None], after: Callable[[], None]
) -> People:
    """``before`` and ``after`` make room on the terminal for a question. Raises `Invalid` for a wrong option."""
    given: dict[str, list[Approval]] = {}
    for step, answer in map(pair_of, approvals):
        given.setdefault(step, []).append(approval_of(step, answer))
    brought = {name: value_of(text) for name, text in map(pair_of, events)}
    if not (sys.stdin.isatty() and err.is_terminal):
        return People(given, brought)
    terminal = _Terminal(before, after)
    return People(given, brought, ask_approval=terminal.approve, ask_event=terminal.event)


def approval_of(step: str, answer: str) -> Approval:
    """`yes`, `no`, or JSON with `approved`, `by`, `comment` and `form`. Raises `Invalid`."""
    if answer.lower() in _YES | _NO:
        return Approval(answer.lower() in _YES, me())
    given = value_of(answer)
    if not isinstance(given, dict) or not isinstance(given.get("approved"), bool):
        raise Invalid(f'--approve {step}: write yes, no or {{"approved": true, "comment": "…", "form": {{…}}}}')
    unknown = given.keys() - {"approved", "by", "comment", "form"}
    if unknown or not isinstance(given.get("form", {}), dict):
        raise Invalid(f"--approve {step}: it has approved, by, comment and form, an object; nothing else")
    return Approval(given["approved"], str(given.get("by", me())), str(given.get("comment", "")), given.get("form", {}))


class _Terminal:
    def __init__(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._before = before
        self._after = after

    async def approve(self, question: Question, answered: Sequence[str]) -> Approval:
        self._before()
        try:
            err.print(Text(clean(f"\n{question.path} asks for your approval"), style="bold"))
            err.print(Text(clean(question.message)))
            if question.approvers:
                err.print(Text(clean(f"meant for: {', '.join(question.approvers)}"), style="dim"))
            by = await _name(question, answered) if question.quorum > 1 else me()
            while (answer := (await _answer("approve? yes or no: ")).lower()) not in _YES | _NO:
                continue
            form = {name: await _field(name) for name in question.form} if answer in _YES else {}
            comment = await _answer("comment (may be empty): ")
            return Approval(answer in _YES, by, comment, {name: one for name, one in form.items() if one != ""})
        finally:
            self._after()

    async def event(self, awaited: Awaited) -> Any:
        self._before()
        try:
            key = f" with key {awaited.key}" if awaited.key else ""
            err.print(Text(clean(f"\n{awaited.path} waits for the event {awaited.event}{key}"), style="bold"))
            return value_of(await _answer("its data, as JSON or text: ") or "null")
        finally:
            self._after()


async def _name(question: Question, answered: Sequence[str]) -> str:
    """Of one more who may answer: each of several people does so once."""
    err.print(Text(f"{len(answered) + 1} of {question.quorum} who have to approve", style="dim"))
    allowed = {me(), *question.approvers}
    while True:
        name = await _answer(f"your name ({me()}): ") or me()
        if name not in answered and (not question.approvers or name in allowed):
            return name


async def _field(name: str) -> Any:
    return value_of(await _answer(f"{name}: "))


async def _answer(prompt: str) -> str:
    """A line of the terminal, without a thread that a cancelled run would have to wait for."""
    err.print(Text(clean(prompt), style="cyan"), end="")
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        text = await line
    finally:
        loop.remove_reader(sys.stdin.fileno())
    if not text:
        raise Invalid("the terminal was closed before the question was answered: resume the run to be asked again")
    return text.strip()


def pair_of(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not (name and equals and value):
        raise Invalid(f"{option[:80]!r}: write it as NAME=VALUE")
    return name, value


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "the person at the terminal"
