"""`orchestrate doctor`: everything the product needs, looked at all at once, each within five seconds."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from app.cli.check import Check, Grade, bounded
from app.cli.exit_codes import ExitCode
from app.cli.installation import settings_of
from app.cli.machine_checks import check_configuration, check_disk, check_python, check_wrong_configuration
from app.cli.options import DataDirOption, JsonOption
from app.cli.plugin_checks import check_plugins, check_policies
from app.cli.policy_checks import check_policy
from app.cli.service_checks import check_api, check_models, check_search
from app.cli.store_checks import check_broker, check_circuits, check_mongo, check_redis, check_workers
from app.cli.terminal import clean, out, print_json
from app.devstack.manifest import Manifest
from app.devstack.stack import reachable
from app.settings import ConfigurationError, Settings, load_settings

_STYLES = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "bold red"}


def doctor(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and everything the product depends on; say what to do about each failure."""
    checks = asyncio.run(examine(data_dir))
    print_checks(out, checks, as_json=as_json)
    raise typer.Exit(ExitCode.FAILED if any(check.failed for check in checks) else ExitCode.OK)


async def examine(data_dir: Path | None) -> list[Check]:
    """Every check's finding; a stack that runs from the data folder is examined at its own URLs."""
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return [check_python(), *check_wrong_configuration(error)]
    folder = data_dir or settings.data_dir
    running = Manifest.find_running(folder)
    effective = settings_of(running)
    api_url = running.api_url if running else f"http://{reachable(settings.api_host)}:{settings.api_port}"
    return [check_python(), check_configuration(settings), *await _ask(effective, api_url), check_disk(folder)]


async def _ask(settings: Settings, api_url: str) -> list[Check]:
    questions = {
        "mongo": check_mongo(settings),
        "redis": check_redis(settings),
        "broker": check_broker(settings),
        **check_models(settings),
        "search": check_search(settings),
        "api": check_api(api_url),
        "workers": check_workers(settings),
        "circuits": check_circuits(settings),
        "plug-ins": check_plugins(settings),
        "evaluation": check_policies(settings),
        "policy": check_policy(settings),
    }
    return await asyncio.gather(*(bounded(name, question) for name, question in questions.items()))


def print_checks(console: Console, checks: Sequence[Check], *, as_json: bool) -> None:
    if as_json:
        print_json(console, {"ok": not any(check.failed for check in checks), "checks": [asdict(c) for c in checks]})
        return
    for check in checks:
        console.print(
            Text.assemble((f"{check.grade:5}", _STYLES[check.grade]), f"{check.name:14} {clean(check.finding)}")
        )
        if check.remedy:
            console.print(Text(f"{'':19} -> {check.remedy}"))
