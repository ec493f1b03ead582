"""`orchestrate evaluators`: what installed packages can check an output for."""

from dataclasses import asdict

import typer
from rich.text import Text

from app.cli.options import JsonOption
from app.cli.terminal import clean, err, out, print_json
from app.governance.evaluation.plugins import load_evaluators
from app.governance.evaluation.schemas import described
from app.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="List the evaluators of installed packages.")

_COLUMNS = "{:22} {:24} {}"


@app.callback()
def _group() -> None:
    """Without a callback the only command would be the group itself."""


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the evaluators of this installation; packages that do not work are listed with the reason."""
    evaluators = load_evaluators(load_settings().agent_plugins)
    failing = evaluators.list_broken()
    items = [described(one) for one in evaluators.list_evaluators()]
    if as_json:
        print_json(out, {"items": [one.model_dump() for one in items], "failing": [asdict(one) for one in failing]})
        return
    out.print(Text(_COLUMNS.format("evaluator", "origin", "description"), style="bold"))
    for one in items:
        out.print(Text(_COLUMNS.format(clean(one.name), clean(one.origin), clean(" ".join(one.description.split())))))
    for plugin in failing:
        told = f"failing: {plugin.distribution} ({plugin.entry_point}): {plugin.reason}"
        err.print(Text(clean(told), style="red"))
