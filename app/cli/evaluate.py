"""`orchestrate evaluate`: the verdict on an output that is there already, and how far the judge can be trusted."""

import asyncio
import importlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.text import Text
from typer.core import TyperGroup

from app.cli.address import Address
from app.cli.asking import ask
from app.cli.evaluation_files import output_of, read_labelled, read_output, wanted_of
from app.cli.exit_codes import ExitCode
from app.cli.installation import settings_of
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.terminal import clean, err, out, print_json
from app.cli.verdict import print_verdict
from app.devstack.manifest import Manifest
from app.errors import Invalid
from app.governance.evaluation.agreement import Compared, CriterionAgreement, agreement_of
from app.governance.evaluation.models import Subject
from app.governance.evaluation.plugins import load_evaluators
from app.observability.logging import configure_logging
from app.settings import Settings, load_settings
from app.tasks.evaluation import check_evaluation

OUTPUT = "output"
EVERY = "all"


class _OutputByDefault(TyperGroup):
    """`orchestrate evaluate TARGET` is `orchestrate evaluate output TARGET`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_ours = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if is_ours else [OUTPUT, *args])


app = typer.Typer(
    cls=_OutputByDefault,
    no_args_is_help=True,
    help="Evaluate an output that is there already; measure how far the judge agrees with people.",
)
WantedOption = Annotated[
    str, typer.Option("--evaluation", metavar="@FILE", help="How it is evaluated, as JSON in a file.")
]


@app.command(OUTPUT)
def evaluate_output(
    target: Annotated[str, typer.Argument(metavar="FILE|ID", help="A task or its result as JSON, or a task's id.")],
    evaluation: WantedOption,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the output of a file or of a task, which stays as it is. The word `output` may be left out.

    Exit codes: 0 passed, 1 not passed, 2 wrong usage or no output, 5 the model or an evaluator failed.
    """
    settings = _settings(data_dir)
    wanted = wanted_of(evaluation)
    check_evaluation(wanted, load_evaluators(settings.agent_plugins).names)
    subject = _subject_of(target, Address(server, api_key, data_dir))
    # Loaded only here: it takes a second that no other command should wait for.
    heavy = importlib.import_module("app.cli.evaluation_run")
    evaluated = asyncio.run(heavy.evaluate_output(settings, wanted, subject))
    verdict = evaluated.verdict.as_json()
    if as_json:
        print_json(out, {**verdict, "tokens": evaluated.tokens, "usd": evaluated.usd})
    else:
        print_verdict(out, verdict)
        _print_cost(evaluated.tokens, evaluated.usd)
    raise typer.Exit(ExitCode.OK if verdict["passed"] else ExitCode.FAILED)


@app.command()
def calibrate(
    cases: Annotated[Path, typer.Argument(metavar="FILE", help="Scored outputs, a JSON object per line.")],
    evaluation: WantedOption,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Fail below this share of scores at most one off.")
    ] = 0.8,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many cases, from the beginning.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Cases at a time.")] = 8,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have outputs that people have scored judged by the configured model, and show how far it agrees with them."""
    settings = _settings(data_dir)
    rubric = wanted_of(evaluation).rubric
    if rubric is None:
        raise Invalid(f"{evaluation}: there is no `rubric` in it, so that no model would judge")
    names = [criterion.name for criterion in rubric.criteria]
    labelled = read_labelled(cases, names)[:limit]
    heavy = importlib.import_module("app.cli.evaluation_run")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("judging", total=len(labelled))
        work = heavy.calibrate(
            settings, rubric, labelled, concurrency=concurrency, on_progress=lambda: progress.advance(bar)
        )
        found = asyncio.run(work)
    whole = agreement_of(EVERY, found.compared)
    by_criterion = _by_criterion(names, found.compared)
    if as_json:
        print_json(out, _told(whole, by_criterion, found))
    else:
        _print_agreement([*by_criterion, whole], found.compared)
        _print_cost(found.tokens, found.usd)
    raise typer.Exit(ExitCode.OK if whole.within_one >= min_agreement else ExitCode.FAILED)


def _settings(data_dir: Path | None) -> Settings:
    settings = settings_of(Manifest.find_running(data_dir or load_settings().data_dir))
    configure_logging(settings, service="cli", stream=sys.stderr)
    return settings


def _subject_of(target: str, address: Address) -> Subject:
    path = Path(target)
    if path.suffix or path.is_file():
        return read_output(path)
    return output_of(ask(address, lambda asked: asked.get("tasks", target)), target)


def _by_criterion(names: list[str], compared: list[Compared]) -> list[CriterionAgreement]:
    of_name = {name: [one for one in compared if one.criterion == name] for name in names}
    return [agreement_of(name, some) for name, some in of_name.items() if some]


def _told(whole: CriterionAgreement, by_criterion: list[CriterionAgreement], found: Any) -> dict[str, Any]:
    return {
        "agreement": whole.within_one,
        "all": asdict(whole),
        "criteria": [asdict(one) for one in by_criterion],
        "scores": [asdict(one) for one in found.compared],
        "tokens": found.tokens,
        "usd": found.usd,
    }


def _print_agreement(rows: list[CriterionAgreement], compared: list[Compared]) -> None:
    wide = max(len("criterion"), *(len(row.criterion) for row in rows))
    out.print(Text(f"{'criterion':{wide}}  cases   exact  within one   kappa    bias", style="bold"))
    for row in rows:
        shares = f"{row.cases:>5}  {row.exact:>6.1%}  {row.within_one:>10.1%}"
        out.print(Text(clean(f"{row.criterion:{wide}}  {shares}  {_signed(row.kappa)}  {_signed(row.bias)}")))
    for one in compared:
        if one.given is None or abs(one.given - one.labelled) > 1:
            told = f"{one.place}: {one.criterion}: a person gave {one.labelled}, the judge {one.given or 'nothing'}"
            out.print(Text(clean(f"{told}: {one.reason}"), style="red"))


def _signed(value: float | None) -> str:
    return f"{'-':>6}" if value is None else f"{value:>+6.2f}"


def _print_cost(tokens: int, usd: float) -> None:
    err.print(Text(f"{tokens} tokens, ${usd:.6f}", style="dim"))
