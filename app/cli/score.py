"""`orchestrate score`: how feasible, aligned, risky and costly work is, before anybody begins it."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.address import Address
from app.cli.asking import ask
from app.cli.budgets import limits_of
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.server import Json
from app.cli.task import text_or_stdin
from app.cli.task_input import read_input
from app.cli.terminal import clean, out, print_json

_FEATURE = "  {:<20} {:>8.4f}  x {:>5.2f}  = {:>8.4f}"


def score(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="The task, in plain words; - reads standard input.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Who is to do it. Default: the best aligned agent.")] = None,
    workflow: Annotated[
        str | None, typer.Option(help="Score a step of this stored workflow instead of a task.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Where the step is in the workflow, as review.fix.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=VALUE", help="Typed input, as for `orchestrate task`.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="LIMIT", help="What it may consume, as usd=0.05; can be repeated.")
    ] = None,
    deadline: Annotated[float | None, typer.Option(metavar="SECONDS", help="When it has to be done.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a task or a step before it runs: feasibility, alignment, risk and cost, and what made them."""
    optional = {
        "task": text_or_stdin(text) if text else None,
        "agent": agent,
        "workflow": workflow,
        "step": step,
        "input": read_input(given or ()),
        "budget": limits_of(budget or ()),
        "deadline_seconds": deadline,
    }
    body = {name: value for name, value in optional.items() if value}
    answer = ask(Address(server, api_key, data_dir), lambda asked: asked.post("evaluations", body=body))
    if as_json:
        print_json(out, answer)
    else:
        _print_scores(answer)


def _print_scores(answer: Json) -> None:
    if agent := answer.get("agent"):
        out.print(Text(clean(f"by {agent}"), style="dim"))
    for name, score_of in (answer.get("scores") or {}).items():
        out.print(Text(clean(f"{name:<12} {score_of.get('value'):.4f}"), style="bold"))
        for feature in score_of.get("features") or ():
            if feature.get("contribution"):
                numbers = (feature.get(part) for part in ("value", "weight", "contribution"))
                out.print(Text(clean(_FEATURE.format(feature.get("name"), *numbers))))
    estimate = answer.get("estimate") or {}
    usd = "price not known" if estimate.get("usd") is None else f"${estimate['usd']:.6f}"
    told = f"{estimate.get('model_calls')} model calls, {estimate.get('tokens')} tokens, {usd}"
    out.print(Text(clean(f"estimated: {told}, {estimate.get('wall_seconds')} s"), style="dim"))
