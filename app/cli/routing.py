"""`orchestrate routing`: where a task would go, and how often the router is right."""

import asyncio
import importlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.text import Text

from app.agents.accuracy import Accuracy
from app.agents.registry import build_registry
from app.cli.address import Address
from app.cli.asking import ask
from app.cli.exit_codes import ExitCode
from app.cli.installation import settings_of
from app.cli.options import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.routing_cases import read_cases
from app.cli.server import Json
from app.cli.task import text_or_stdin
from app.cli.task_input import read_input
from app.cli.terminal import clean, err, out, print_json
from app.devstack.manifest import Manifest
from app.ids import new_id
from app.observability.logging import configure_logging
from app.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Ask where a task would go, and measure how often the router is right.")


@app.command()
def show(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The task, in plain words; - reads standard input.")],
    session: Annotated[str | None, typer.Option(help="A session that the task would go on with.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=VALUE", help="Typed input, as for `orchestrate task`.")
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask where a task would go, and why, without doing it."""
    optional = {"session_id": session, "input": read_input(given or ())}
    body = {"task": text_or_stdin(text)} | {name: value for name, value in optional.items() if value}
    answer = ask(
        Address(server, api_key, data_dir),
        lambda asked: asked.post("agent", "route", body=body, idempotency_key=new_id()),
    )
    if as_json:
        print_json(out, answer)
    else:
        _print_decision(answer)
    raise typer.Exit(ExitCode.OK if answer.get("routing") else ExitCode.STILL_RUNNING)


@app.command("test")
def measure(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Labelled tasks in YAML.")],
    min_accuracy: Annotated[float, typer.Option(min=0, max=1, help="Fail below this share of right answers.")] = 0.9,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many cases, from the beginning.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Model calls at a time.")] = 8,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Route labelled tasks with the configured model, and show accuracy, confusion and what went wrong."""
    settings = settings_of(Manifest.find_running(data_dir or load_settings().data_dir))
    configure_logging(settings, service="cli", stream=sys.stderr)
    registry = build_registry(settings)
    cases = read_cases(files, [spec.name for spec in registry.list_routable()])[:limit]
    # Loaded only here: it takes a second that no other command should wait for.
    measuring = importlib.import_module("app.cli.routing_run")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("routing", total=len(cases))
        measured = asyncio.run(
            measuring.measure(
                cases, registry, settings, concurrency=concurrency, on_progress=lambda: progress.advance(bar)
            )
        )
    accuracy: Accuracy = measured.accuracy
    if as_json:
        print_json(out, {**_told(accuracy), "tokens": measured.tokens, "usd": measured.usd})
    else:
        _print_accuracy(accuracy)
        err.print(Text(f"{measured.tokens} tokens, ${measured.usd:.6f}", style="dim"))
    raise typer.Exit(ExitCode.OK if accuracy.share >= min_accuracy else ExitCode.FAILED)


def _print_decision(answer: Json) -> None:
    routing = answer.get("routing")
    if routing is None:
        out.print(Text(clean(f"not decided yet: orchestrate tasks show {answer.get('task_id')}")))
        return
    agent, error = answer.get("selected_agent"), answer.get("error") or {}
    out.print(Text(clean(agent or error.get("message") or "no agent"), style="bold green" if agent else "bold red"))
    facts = {"rule": routing.get("rule"), "confidence": routing.get("confidence"), "reason": routing.get("reasoning")}
    for name, value in {**facts, "model": routing.get("model"), "prompt": _prompt(routing)}.items():
        if value is not None:
            out.print(Text(clean(f"{name:11} {value}")))
    for candidate in routing.get("candidates") or ():
        told = f"  {candidate.get('score'):.2f}  {candidate.get('agent_name')}: {candidate.get('reason')}"
        out.print(Text(clean(told), style="dim"))


def _prompt(routing: Json) -> str | None:
    prompt = routing.get("prompt")
    return f"{prompt.get('name')} {prompt.get('digest')}" if prompt else None


def _told(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "accuracy": accuracy.share,
        "cases": len(accuracy.judged),
        "classes": [asdict(one) for one in accuracy.classes],
        "confusion": accuracy.confusion,
        "by_tag": accuracy.by_tag,
        "wrong": [
            {
                "place": one.case.place,
                "task": one.case.task,
                "expected": one.case.expected,
                "predicted": one.predicted,
                "confidence": one.confidence,
                "rule": one.rule,
                "reasoning": one.reasoning,
            }
            for one in accuracy.wrong
        ],
    }


def _print_accuracy(accuracy: Accuracy) -> None:
    right = len(accuracy.judged) - len(accuracy.wrong)
    out.print(Text(f"accuracy {accuracy.share:.1%} ({right} of {len(accuracy.judged)})", style="bold"))
    wide = max(map(len, (*accuracy.names, "expected")))
    out.print(Text(f"\n{'agent':{wide}}  precision  recall  cases", style="bold"))
    for one in accuracy.classes:
        shares = f"{_percent(one.precision):>9}  {_percent(one.recall):>6}  {one.cases:>5}"
        out.print(Text(clean(f"{one.name:{wide}}  {shares}")))
    out.print(Text(clean(f"\n{'expected':{wide}}  " + "  ".join(accuracy.names)), style="bold"))
    for expected, row in accuracy.confusion.items():
        out.print(Text(clean(f"{expected:{wide}}  " + "  ".join(f"{row[name]:>{len(name)}}" for name in row))))
    for miss in accuracy.wrong:
        told = f"\n{miss.case.place}: expected {miss.case.expected}, got {miss.predicted}"
        out.print(Text(clean(f"{told} ({miss.rule}, {miss.confidence:.2f}): {miss.reasoning}"), style="red"))
        out.print(Text(clean(f"  {' '.join(miss.case.task.split())[:200]}"), style="dim"))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
