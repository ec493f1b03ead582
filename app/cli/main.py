"""The `orchestrate` command."""

import asyncio
import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from app.cli import agents, budgets, dead_letters, evaluate, evaluators, routing, run, sessions, tasks, workflows
from app.cli.address import Address
from app.cli.demo import run_demo
from app.cli.doctor import examine, print_checks
from app.cli.evaluation_files import EvaluationOption, read_evaluation
from app.cli.exit_codes import ExitCode, code_of_error
from app.cli.replay import replay
from app.cli.simulate import ScenarioOption, SeedOption, simulate, simulation_of
from app.cli.task import Manner, Submission, run_task, text_or_stdin
from app.cli.task_input import read_input
from app.cli.tasks import DataDirOption, JsonOption, KeyOption, ServerOption
from app.cli.terminal import clean, debugging, err, out
from app.cli.up import run_stack
from app.cli.verify import print_report
from app.cli.verify import verify as verify_store
from app.devstack.session import Options
from app.devstack.source import with_source
from app.errors import OrchestratorError
from app.settings import load_settings
from app.version import VERSION

app = typer.Typer(
    name="orchestrate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A durable backend for AI agents: run the stack, give it tasks, look after it.",
)
app.add_typer(tasks.app, name="tasks")
app.add_typer(agents.app, name="agents")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(evaluators.app, name="evaluators")
app.add_typer(routing.app, name="routing")
app.add_typer(workflows.app, name="workflows")
app.command()(workflows.validate)
app.command()(workflows.schema)
for local in (run.run, run.resume, run.cancel, run.report, run.graph):
    app.command()(local)
app.add_typer(run.receipt_app, name="receipt")
app.add_typer(sessions.app, name="sessions")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(budgets.app, name="budgets")
app.command()(budgets.usage)

app.command()(simulate)

ConcurrencyOption = Annotated[int | None, typer.Option(min=1, help="Jobs per worker. Default: WORKER_SLOTS.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Variable: ORCHESTRATE_DEBUG=1.")] = False,
) -> None:
    if debug:
        os.environ["ORCHESTRATE_DEBUG"] = "1"


@app.command()
def up(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the API, 0 for a free one. Default: API_PORT, else 8000."),
    ] = None,
    data_dir: DataDirOption = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Worker processes.")] = 1,
    concurrency: ConcurrencyOption = None,
    scenario: ScenarioOption = None,
    seed: SeedOption = 0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every log line of every part.")] = False,
) -> None:
    """Run the whole stack until Ctrl-C; what is not configured by URL is embedded."""
    settings = load_settings()
    options = Options(
        data_dir=data_dir or settings.data_dir,
        port=settings.api_port if port is None else port,
        workers=workers,
        concurrency=concurrency,
        simulation=simulation_of(scenario, seed) if scenario else None,
    )
    raise typer.Exit(asyncio.run(run_stack(options, settings, console=out, verbose=verbose)))


@app.command()
def demo(scenario: ScenarioOption = None, seed: SeedOption = 0) -> None:
    """Start a throw-away stack with the simulator, run three tasks, show the results, stop."""
    simulation = simulation_of(scenario, seed) if scenario else None
    raise typer.Exit(asyncio.run(run_demo(out, simulation=simulation)))


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: API_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port, 0 for a free one. Default: API_PORT.")
    ] = None,
) -> None:
    """Run the API alone, in this process."""
    _become("app.main", API_HOST=host, API_PORT=port)


@app.command()
def worker(concurrency: ConcurrencyOption = None) -> None:
    """Run one worker alone, in this process."""
    _become("worker", WORKER_SLOTS=concurrency)


@app.command()
def doctor(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and everything the product depends on; say what to do about each failure."""
    checks = asyncio.run(examine(data_dir))
    print_checks(out, checks, as_json=as_json)
    raise typer.Exit(ExitCode.FAILED if any(check.failed for check in checks) else ExitCode.OK)


@app.command()
def verify(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Check that no task in the store breaks a promise of the product; show those that do."""
    report = asyncio.run(verify_store(data_dir))
    print_report(out, report, as_json=as_json)
    raise typer.Exit(ExitCode.OK if report.ok else ExitCode.FAILED)


@app.command()
def task(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to do, in plain words; - reads standard input.")],
    agent: Annotated[str | None, typer.Option(help="Skip the routing and give it to this agent.")] = None,
    session: Annotated[str | None, typer.Option(help="Go on with this session.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=VALUE", help="Typed input, repeatable: NAME=@FILE and @FILE.json too."),
    ] = None,
    evaluation: EvaluationOption = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="LIMIT", help="Hard limit of this task, as usd=0.05; can be repeated.")
    ] = None,
    may_ask: Annotated[
        bool, typer.Option("--ask", help="Wait for you instead of failing, at a limit or when no agent clearly fits.")
    ] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Stop waiting after so many seconds.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for the end, or print the id.")] = True,
) -> None:
    """Submit a task, follow it and print the result."""
    wanted = read_evaluation(evaluation) if evaluation else None
    limits = budgets.limits_of(budget or ())
    if limits and may_ask:
        limits["on_exceeded"] = "ask"
    typed = read_input(given or ())
    submission = Submission(text_or_stdin(text), agent, session, typed, wanted, limits, clarify=may_ask)
    manner = Manner(follow=follow, as_json=as_json, timeout=timeout)
    raise typer.Exit(run_task(Address(server, api_key, data_dir), submission, manner))


app.command()(replay)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(VERSION, markup=False)


def _become(module: str, **variables: object) -> NoReturn:
    """Replace this process, so that signals and exit codes are the part's own."""
    given = {name: str(value) for name, value in variables.items() if value is not None}
    environment = with_source({**os.environ, **given})
    os.execve(sys.executable, [sys.executable, "-m", module], environment)  # noqa: S606 - an argv list, no shell


def main() -> None:
    """Errors reach the user as one line with the fix; a traceback only on demand."""
    try:
        app()
    except OrchestratorError as error:
        if debugging():
            raise
        err.print(Text.assemble(("error: ", "bold red"), clean(error.message)))
        sys.exit(code_of_error(error))
    except Exception as error:
        if debugging():
            raise
        told = f"{type(error).__name__}: {error}"
        err.print(Text.assemble(("internal error: ", "bold red"), clean(told), " (--debug shows where)"))
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
