"""The `orchestrate` command."""

import os
import sys
from typing import Annotated

import typer
from rich.text import Text

from app.cli.exit_codes import ExitCode, code_of_error
from app.cli.lazy import Deferred, LazyGroup
from app.cli.terminal import clean, debugging, err
from app.errors import OrchestratorError

COMMANDS = (
    Deferred("up", "app.cli.up", "up", "Run the whole stack until Ctrl-C; what is not configured by URL is embedded."),
    Deferred(
        "demo",
        "app.cli.demo",
        "demo",
        "Start a throw-away stack with the simulator, run three tasks, show the results, stop.",
    ),
    Deferred("task", "app.cli.task", "task", "Submit a task, follow it and print the result."),
    Deferred(
        "tasks",
        "app.cli.tasks",
        "app",
        "List, show, cancel and retry tasks, download what they made, ask why one waits or what it did outside.",
    ),
    Deferred("artifacts", "app.cli.artifacts", "app", "Upload files, download any artifact by its digest."),
    Deferred("sessions", "app.cli.sessions", "app", "List, show and delete sessions, which later tasks are told of."),
    Deferred("dead-letters", "app.cli.dead_letters", "app", "List, show and re-drive tasks that failed for good."),
    Deferred(
        "queues", "app.cli.queues", "app", "Show what waits in the broker; move dead letters back to their queue."
    ),
    Deferred(
        "replay",
        "app.cli.replay",
        "replay",
        "Run a task or steps again on the traffic that was recorded, free and the same every time, and compare.",
    ),
    Deferred(
        "run",
        "app.cli.run",
        "run",
        "Run a workflow in this process: no stack is needed, and without a model's key the simulator answers.",
    ),
    Deferred(
        "resume",
        "app.cli.run",
        "resume",
        "Go on with a run that was interrupted or waits; what has ended is not done again. Exit codes as of `run`.",
    ),
    Deferred(
        "cancel",
        "app.cli.run",
        "cancel",
        "Stop a run of this machine: its programs are killed, and its `finally` still runs.",
    ),
    Deferred(
        "report",
        "app.cli.run",
        "report",
        "Print what a run did, step by step, as Markdown or JSON; without an id, the runs of this folder.",
    ),
    Deferred("graph", "app.cli.run", "graph", "Draw a workflow, or a run with how its steps ended."),
    Deferred("receipt", "app.cli.run", "receipt_app", "Prove offline what a run did."),
    Deferred("workflows", "app.cli.workflows", "app", "Store, list, show and delete workflows on a server."),
    Deferred(
        "executions",
        "app.cli.executions",
        "app",
        "Start, follow, steer and fork executions of stored workflows, answer approvals, send signals.",
    ),
    Deferred(
        "approvals",
        "app.cli.approvals",
        "app",
        "List, show, approve, reject and delegate what people are asked; make links for mails.",
    ),
    Deferred(
        "validate",
        "app.cli.workflows",
        "validate",
        "Say whether a workflow is valid, or everything that is wrong in it with line, column and fix.",
    ),
    Deferred("schema", "app.cli.workflows", "schema", "Print the JSON Schema of workflow documents, for editors."),
    Deferred(
        "agents", "app.cli.agents", "app", "List and show the installed agents, and make a package for a new one."
    ),
    Deferred(
        "routing", "app.cli.routing", "app", "Ask where a task would go, and measure how often the router is right."
    ),
    Deferred(
        "score",
        "app.cli.score",
        "score",
        "Score a task or a step before it runs: feasibility, alignment, risk and cost, and what made them.",
    ),
    Deferred(
        "evaluate",
        "app.cli.evaluate",
        "app",
        "Evaluate an output that is there already; measure how far the judge agrees with people.",
    ),
    Deferred("evaluators", "app.cli.evaluators", "app", "List the evaluators of installed packages."),
    Deferred(
        "budgets", "app.cli.budgets", "app", "List, set and remove budgets; let a task go on that one has paused."
    ),
    Deferred(
        "policy",
        "app.cli.policy",
        "app",
        "Check and test policies; store, show, try out and remove that of a server.",
    ),
    Deferred(
        "usage",
        "app.cli.budgets",
        "usage",
        "Show the tokens, calls and dollars that tasks came to, by agent, by day or in all.",
    ),
    Deferred(
        "doctor",
        "app.cli.doctor",
        "doctor",
        "Check the configuration and everything the product depends on; say what to do about each failure.",
    ),
    Deferred(
        "verify",
        "app.cli.verify",
        "verify",
        "Check that no task in the store breaks a promise of the product; show those that do.",
    ),
    Deferred("logs", "app.cli.logs", "logs", "Search the kept logs of workers and agents, or follow them."),
    Deferred(
        "legal-holds",
        "app.cli.legal_holds",
        "app",
        "List, place and release legal holds: what is held is never deleted.",
    ),
    Deferred(
        "audit",
        "app.cli.audit",
        "app",
        "Show, export and verify the trail of who did what.",
    ),
    Deferred("api", "app.cli.processes", "api", "Run the API alone, in this process."),
    Deferred("worker", "app.cli.processes", "worker", "Run one worker alone, in this process."),
    Deferred(
        "simulate",
        "app.cli.simulate",
        "simulate",
        "Run the simulator of a model provider and a web search alone, in this process.",
    ),
    Deferred("version", "app.cli.version", "version", "Print the version."),
)


class Commands(LazyGroup):
    """They are listed in this order."""

    deferred = COMMANDS


app = typer.Typer(
    name="orchestrate",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A durable backend for AI agents: run the stack, give it tasks, look after it.",
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Variable: ORCHESTRATE_DEBUG=1.")] = False,
) -> None:
    if debug:
        os.environ["ORCHESTRATE_DEBUG"] = "1"


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
