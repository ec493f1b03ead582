"""`orchestrate api` and `orchestrate worker`: one part of the stack alone."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from app.cli.options import AllowCommandsOption, ConcurrencyOption
from app.devstack.source import with_source


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: API_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port, 0 for a free one. Default: API_PORT.")
    ] = None,
) -> None:
    """Run the API alone, in this process."""
    _become("app.main", API_HOST=host, API_PORT=port)


def worker(concurrency: ConcurrencyOption = None, allow_commands: AllowCommandsOption = False) -> None:
    """Run one worker alone, in this process."""
    _become("worker", WORKER_SLOTS=concurrency, WORKER_ALLOW_COMMANDS=True if allow_commands else None)


def _become(module: str, **variables: object) -> NoReturn:
    """Replace this process, so that signals and exit codes are the part's own."""
    given = {name: str(value) for name, value in variables.items() if value is not None}
    environment = with_source({**os.environ, **given})
    os.execve(sys.executable, [sys.executable, "-m", module], environment)  # noqa: S606 - an argv list, no shell
