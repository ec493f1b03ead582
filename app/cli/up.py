"""`orchestrate up`: run the stack in the foreground until Ctrl-C or SIGTERM."""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, assert_never

import typer
from rich.console import Console
from rich.text import Text

from app.cli.exit_codes import ExitCode
from app.cli.options import AllowCommandsOption, ConcurrencyOption, DataDirOption
from app.cli.simulate import ScenarioOption, SeedOption, simulation_of
from app.cli.terminal import clean, out
from app.devstack.logfile import Severity, parse
from app.devstack.notices import Died, Notice, Ready, Said, Started, Stopped
from app.devstack.session import Options, Stack, open_stack
from app.devstack.stack import SIMULATOR, STORE
from app.settings import Settings, load_settings

_STYLES = {Severity.INFO: "dim", Severity.WARNING: "yellow", Severity.ERROR: "red"}
_GRAVITY = {severity: rank for rank, severity in enumerate(Severity)}
_COMMON = frozenset(
    {"timestamp", "level", "event", "logger", "service", "tenant_id", "session_id", "request_id", "trace_id"}
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Narrator:
    """Tells on the terminal what the supervisor does; of the parts' own words only those at least this grave."""

    console: Console
    least: Severity = Severity.WARNING

    def __call__(self, notice: Notice) -> None:
        match notice:
            case Started():
                return
            case Ready(part, took):
                self._say(f"{part} is ready ({took.total_seconds():.1f} s)", "dim")
            case Stopped(part, killed):
                self._say(f"{part} {'was killed' if killed else 'has stopped'}", "yellow" if killed else "dim")
            case Said(part, line, severity):
                if _GRAVITY[severity] >= _GRAVITY[self.least]:
                    self._say(f"{part} | {readable(line)}", _STYLES[severity])
            case Died():
                self._mourn(notice)
            case _:
                assert_never(notice)

    def _mourn(self, death: Died) -> None:
        delay = death.restart_in / timedelta(seconds=1)
        if not death.looping:
            self._say(f"{death.part} died (exit code {death.exit_code}); again in {delay:.1f} s", "yellow")
            return
        self._say(
            f"{death.part} keeps dying: {death.deaths} times in a row, again in {delay:.0f} s; last lines:", "red"
        )
        for line in death.last_lines:
            self._say(f"  {clean(line)}", "red")

    def _say(self, text: str, style: str) -> None:
        self.console.print(Text(text, style=style))


def readable(line: str) -> str:
    """A record as its event and what is particular to it; any other line as it is."""
    record = parse(line)
    if record is None or "event" not in record:
        return clean(line)
    details = (f"{name}={value}" for name, value in record.items() if name not in _COMMON)
    return clean(" ".join((str(record["event"]), *details)))


class StopSignals:
    """The first signal asks to stop, the second hurries."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._on_hurry: Callable[[], None] = lambda: None

    def install(self, on_hurry: Callable[[], None]) -> None:
        self._on_hurry = on_hurry
        for each in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(each, self._heard)

    def _heard(self) -> None:
        if self.asked.is_set():
            self._on_hurry()
        self.asked.set()


def up(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the API, 0 for a free one. Default: API_PORT, else 8000."),
    ] = None,
    data_dir: DataDirOption = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Worker processes.")] = 1,
    concurrency: ConcurrencyOption = None,
    allow_commands: AllowCommandsOption = False,
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
        allow_commands=allow_commands,
        simulation=simulation_of(scenario, seed) if scenario else None,
    )
    raise typer.Exit(asyncio.run(run_stack(options, settings, console=out, verbose=verbose)))


async def run_stack(options: Options, settings: Settings, *, console: Console, verbose: bool) -> ExitCode:
    begun = time.monotonic()
    stack = await open_stack(options, settings, Narrator(console, least=Severity.INFO if verbose else Severity.WARNING))
    signals = StopSignals()
    signals.install(on_hurry=stack.hurry)
    try:
        if await started(stack, signals.asked):
            print_banner(console, stack, took=time.monotonic() - begun)
            await signals.asked.wait()
        console.print(Text("stopping; Ctrl-C again to hurry", style="dim"))
    finally:
        await stack.stop()
    return ExitCode.OK


async def started(stack: Stack, stop_asked: asyncio.Event) -> bool:
    """Whether the stack came up before somebody asked to stop; raises `StartFailed`."""
    start = asyncio.create_task(stack.start())
    asked = asyncio.create_task(stop_asked.wait())
    await asyncio.wait({start, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if start.done():
        start.result()
        return True
    start.cancel()
    await asyncio.wait({start})
    return False


def print_banner(console: Console, stack: Stack, *, took: float) -> None:
    url = stack.plan.api_url
    console.print(Text(f"\nThe stack is up ({took:.1f} s). Ctrl-C stops it.", style="bold green"))
    for name, value in (("API", url), ("docs", f"{url}/docs"), ("metrics", f"{url}/v1/system/metrics")):
        console.print(f"  {name:8} {value}")
    console.print(f"  {'data':8} {stack.data_dir}", markup=False)
    for remark in remarks(stack):
        console.print(Text(f"  {remark}", style="yellow"))
    console.print(f'\nTry: {_command(stack)} "Write a short post about durable queues"\n', markup=False)


def _command(stack: Stack) -> str:
    # The commands look for a stack in the default folder by themselves.
    found_alone = stack.data_dir.resolve() == load_settings().data_dir.resolve()
    return "orchestrate task" if found_alone else f"orchestrate task --data-dir {stack.data_dir}"


def remarks(stack: Stack) -> list[str]:
    """What a newcomer must not mistake this for."""
    embedded = stack.plan.embedded
    said = []
    if STORE in embedded:
        said.append("The store is embedded: for trying out and development. Set MONGO_URI for anything you must keep.")
    if SIMULATOR in embedded:
        said.append("The LLM is a SIMULATOR: its answers are canned. Set OPENAI_API_KEY for a real model.")
    return said
