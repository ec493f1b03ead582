"""`orchestrate budgets` and `orchestrate usage`: what may be consumed, and what was."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask, print_found
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption, TaskId
from app.cli.rendering import print_task
from app.cli.server import Json
from app.cli.terminal import clean, err, out, print_json
from app.errors import Invalid

app = typer.Typer(no_args_is_help=True, help="List, set and remove budgets; let a task go on that one has paused.")

_BUDGETS = "{:8} {:22} {:6} {:13} {:>12} {:>12} {:>12} {:>12}"
_LIMIT = re.compile(r"([a-z_]+)=([0-9]{1,15}(?:\.[0-9]{1,9})?)")
_USAGE = "{:24} {:>12} {:>8} {:>12}"
Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="tenant, agent or session.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Your tenant's name, an agent's, or `*`: other agents, every session.")
]


@app.command("list")
def list_(
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every limit that holds, with what was consumed."""
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.get("budgets"))
    budgets = answer.get("items") or []
    if as_json:
        print_json(out, answer)
    elif budgets:
        _print_budgets(budgets)
    else:
        err.print(Text("no budgets; the first one: orchestrate budgets set tenant default --day usd=10"))


@app.command("set")
def set_(
    scope: Scope,
    name: Name,
    day: Annotated[list[str] | None, typer.Option(help="Limit of a day (UTC), as usd=10; can be repeated.")] = None,
    month: Annotated[list[str] | None, typer.Option(help="Limit of a calendar month (UTC); can be repeated.")] = None,
    total: Annotated[list[str] | None, typer.Option(help="Limit of each session; can be repeated.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a budget, in place of the one that was set before. Units: usd, tokens, model_calls, wall_seconds."""
    given = {"day": day, "month": month, "total": total}
    body = {period: limits_of(limits) for period, limits in given.items() if limits}
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.put("budgets", scope, name, body=body))
    if as_json:
        print_json(out, answer)
    else:
        _print_budgets([answer])


@app.command()
def remove(
    scope: Scope,
    name: Name,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Remove a budget that was set; what the deployment configures still holds."""
    ask(Address(server, api_key, data_dir), lambda asked: asked.delete("budgets", scope, name))
    out.print(Text(clean(f"the budget of {scope} {name} is removed")))


@app.command("raise")
def raise_(
    task_id: TaskId,
    limits: Annotated[
        list[str] | None, typer.Argument(metavar="LIMIT", help="New limits, as usd=0.5; none for another's budget.")
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a task go on that a budget has paused, under higher limits."""
    body = limits_of(limits or ())
    task = ask(Address(server, api_key, data_dir), lambda asked: asked.post("tasks", task_id, "budget", body=body))
    print_found(task, print_task, as_json=as_json)


def usage(
    first: Annotated[
        str | None, typer.Option("--from", help="First day, as 2026-11-01. Default: of the month.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day, included. Default: today.")] = None,
    by: Annotated[str, typer.Option(help="tenant, agent or day.")] = "agent",
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the tokens, calls and dollars that tasks came to, by agent, by day or in all."""
    query = {"from": first, "to": last, "group_by": by}
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.get("usage", **query))
    if as_json:
        print_json(out, answer)
        return
    out.print(Text(_USAGE.format(by, "tokens", "calls", "usd"), style="bold"))
    for item in [*(answer.get("items") or []), {"key": "total", **(answer.get("total") or {})}]:
        usd = f"{item.get('usd') or 0:.6f}"
        cells = map(clean, (item.get("key"), item.get("tokens"), item.get("model_calls"), usd))
        out.print(Text(_USAGE.format(*cells)))


def limits_of(given: Iterable[str]) -> Json:
    """Amounts by unit from `usd=0.5` and the like. Raises `Invalid`."""
    return dict(map(_limit, given))


def _limit(given: str) -> tuple[str, float]:
    found = _LIMIT.fullmatch(given)
    if found is None:
        raise Invalid(f"{given!r} is no limit: write it as usd=0.5 or tokens=5000")
    unit, value = found.groups()
    return unit, float(value) if "." in value else int(value)


def _print_budgets(budgets: Iterable[Json]) -> None:
    heading = _BUDGETS.format("scope", "name", "period", "unit", "limit", "spent", "reserved", "remaining")
    out.print(Text(heading, style="bold"))
    for budget in budgets:
        for limit in budget.get("limits") or ():
            out.print(Text(_BUDGETS.format(*map(clean, _cells(budget, limit)))))


def _cells(budget: Json, limit: Mapping[str, object]) -> list[object]:
    amounts = (limit.get(name) for name in ("limit", "spent", "reserved", "remaining"))
    return [
        budget.get("scope"),
        budget.get("name"),
        limit.get("period"),
        limit.get("unit"),
        *("each" if amount is None else f"{amount:.10g}" for amount in amounts),
    ]
