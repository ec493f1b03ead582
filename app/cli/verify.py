"""`orchestrate verify`: which promises the jobs in the store break, in a live system."""

import asyncio
from pathlib import Path

import typer
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.text import Text

from app.bootstrap.verification import build_verifier
from app.cli.exit_codes import ExitCode
from app.cli.installation import settings_of
from app.cli.options import DataDirOption, JsonOption
from app.cli.terminal import clean, out, print_json
from app.database.client import connect, database_of
from app.database.errors import StoreFailure, StoreUnavailable
from app.database.store_clock import StoreClock
from app.devstack.manifest import Manifest
from app.invariants.models import Finding, Offender, Report
from app.settings import Settings, load_settings

_SHOWN = 10


def verify(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Check that no task in the store breaks a promise of the product; show those that do."""
    report = asyncio.run(examine(data_dir))
    print_report(out, report, as_json=as_json)
    raise typer.Exit(ExitCode.OK if report.ok else ExitCode.FAILED)


async def examine(data_dir: Path | None) -> Report:
    """Verify the stack that runs from the data folder, else what MONGO_URI names; raises `StoreUnavailable`."""
    settings = settings_of(Manifest.find_running(data_dir or load_settings().data_dir))
    try:
        return await _verify_store(settings)
    except PyMongoError as error:
        raise StoreUnavailable(f"the store cannot be verified: {type(error).__name__}") from error
    except StoreFailure as error:
        raise StoreUnavailable(f"the store cannot be verified: {error.message}") from error


async def _verify_store(settings: Settings) -> Report:
    async with connect(settings) as client:
        database, clock = database_of(client, settings), StoreClock()
        await clock.synchronise(database)
        return await build_verifier(settings, database, clock=clock).verify()


def print_report(console: Console, report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(console, report.as_json())
        return
    for finding in report.findings:
        grade, style = ("ok", "green") if finding.ok else ("fail", "bold red")
        console.print(Text.assemble((f"{grade:5}", style), f"{finding.name:26} {finding.promise}"))
        for offender in finding.offenders[:_SHOWN]:
            console.print(Text(f"{'':5} -> {_told(offender)}"))
        if more := _more(finding):
            console.print(Text(f"{'':5} -> {more}"))


def _told(offender: Offender) -> str:
    facts = ", ".join(f"{name}={clean(value)}" for name, value in offender.items() if name != "task_id")
    return f"{clean(offender.get('task_id', ''))} {facts}".strip()


def _more(finding: Finding) -> str:
    rest = len(finding.offenders) - _SHOWN
    return f"and {rest}{' or more' if finding.truncated else ''} others; --json shows up to 100" if rest > 0 else ""
