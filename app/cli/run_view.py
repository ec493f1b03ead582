"""A run on the terminal: a tree that changes while it goes on, or a line per event where nobody watches."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from app.cli.terminal import clean
from app.hash_chain import Event
from app.workflows.diagram.boxes import label_of
from app.workflows.local.history import History, StepRecord
from app.workflows.places import scopes_of, was_entered
from app.workflows.plan import Node, Plan, Scope
from app.workflows.run import ENDING

_REFRESHES = 8
_MARKS = {
    "succeeded": ("✓", "green"),
    "tolerated": ("✓", "yellow"),
    "exhausted": ("✓", "yellow"),
    "failed": ("✗", "red"),
    "cancelled": ("✗", "magenta"),
    "skipped": ("-", "dim"),
    "blocked": ("-", "dim"),
    "running": ("…", "cyan"),
    "waiting": ("?", "cyan"),
}
_TOLD = {"succeeded", "tolerated", "exhausted", "failed", "cancelled", "skipped", "blocked"}


class RunView:
    """Is told every event. ``is_live`` draws the tree, and needs a terminal."""

    def __init__(self, console: Console, plan: Plan, *, is_live: bool) -> None:
        self._console = console
        self._plan = plan
        self._history = History()
        self._live = (
            Live(console=console, get_renderable=self._render, refresh_per_second=_REFRESHES) if is_live else None
        )

    @property
    def execution_id(self) -> str | None:
        """Of the run that was shown; None before it began."""
        return self._history.execution_id if self._history.created else None

    def shown(self) -> AbstractContextManager[object]:
        return self._live or nullcontext()

    def watch(self, event: Event, history: History) -> None:
        self._history = history
        if self._live is None and (line := described(event)) is not None:
            self._console.print(Text(line, style="dim"))

    def pause(self) -> None:
        """While somebody is asked."""
        if self._live is not None:
            self._live.stop()

    def go_on(self) -> None:
        if self._live is not None:
            self._live.start()

    def _render(self) -> Tree:
        return tree_of(self._plan, self._history)


def described(event: Event) -> str | None:
    """One line for people, or None for what is too small to mention."""
    path, error = event.get("path"), event.get("error")
    why = f" ({error['type']}: {error['message']})" if error else ""
    match event["event"]:
        case "run.created":
            return clean(f"run {event['execution_id']} of {event['workflow']}")
        case "attempt.started" if event["attempt"] == 1:
            return clean(f"{path}: started")
        case "attempt.started":
            return clean(f"{path}: attempt {event['attempt']}")
        case "attempt.failed":
            return clean(f"{path}: failed{why}; again in {event['retry_in']:g} s")
        case "step.ended" | "step.settled":
            return clean(f"{path}: {event['end']}{' before' if event.get('reused_from') else ''}{why}")
        case "step.waits":
            asked = f": {event['for']['message']}" if event["for"].get("message") else ""
            return clean(f"{path}: waits for {event['for']['what']}{asked}")
        case "run.cancelled" | "run.interrupted" | "run.waiting":
            return str(event["event"]).partition(".")[2]
        case _:
            return None


def tree_of(plan: Plan, history: History | None = None) -> Tree:
    """All steps in their order; of repetitions what has begun is counted."""
    known = history or History()
    tree = Tree(Text(clean(plan.workflow.name), style="bold"))
    _add(tree, plan, plan.body, "", known)
    if plan.ending.nodes:
        _add(tree.add(Text("finally", style="dim")), plan, plan.ending, "finally.", known)
    return tree


def _add(tree: Tree, plan: Plan, scope: Scope, prefix: str, history: History) -> None:
    for node in scope.nodes:
        path = f"{prefix}{node.name}"
        branch = tree.add(_line(scope, node, path, history))
        inner, inside = scopes_of(plan, node)
        within = f"{_latest(path, history)}."
        is_over = path in history.steps and history.steps[path].end is not None
        for one in inside:
            is_taken = node.step.switch is None or was_entered(one, within, history.steps, is_over=is_over)
            if one is inner.ending:
                _add(branch, inner, one, f"{within}{ENDING}.", history)
            else:
                _add(branch, inner, one, within, history if is_taken else History())


def _line(scope: Scope, node: Node, path: str, history: History) -> Text:
    status = _status(path, history)
    mark, style = _MARKS.get(status, (" ", ""))
    needs = ", ".join(scope.nodes[need].name for need in node.needs)
    line = Text.assemble((f"{mark} {node.name}", style), (f"  {label_of(node)}", "dim"))
    line.append(f"  after {needs}" if needs else "", style="dim")
    line.append(clean("".join(_details(path, history))), style=style)
    return line


def _details(path: str, history: History) -> Iterator[str]:
    step = history.steps.get(path)
    if items := _items(path, history):
        yield f"  {sum(item.end is not None for item in items)}/{len(items)}"
    if step is None:
        return
    if len(step.attempts) > 1:
        yield f"  attempt {len(step.attempts)}"
    if step.waits_for and step.end is None:
        yield f"  waits for {step.waits_for['what']}"
    if step.error:
        yield f"  {step.error['type']}: {step.error['message']}"


def _status(path: str, history: History) -> str:
    step = history.steps.get(path)
    if step is None:
        begun = any(name.startswith((f"{path}.", f"{path}[")) for name in history.steps)
        return "running" if begun else "idle"
    if step.end in _TOLD:
        return str(step.end)
    return "waiting" if step.waits_for else "running"


def _items(path: str, history: History) -> list[StepRecord]:
    return [step for name, step in history.steps.items() if name.startswith(f"{path}[") and name.endswith("]")]


def _latest(path: str, history: History) -> str:
    """The newest item or iteration of a step that repeats, whose inside is shown."""
    places = [name[len(path) + 1 :].partition("]")[0] for name in history.steps if name.startswith(f"{path}[")]
    numbers = [int(place) for place in places if place.isdecimal()]
    return f"{path}[{max(numbers)}]" if numbers else path


def outputs_as_text(outputs: Any) -> Iterator[Text]:
    """`name: value`, a text as it is."""
    for name, value in (outputs or {}).items():
        told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield Text.assemble((f"{clean(name)}: ", "bold"), clean(told))
