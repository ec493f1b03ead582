"""`orchestrate demo`: the whole stack in a temporary folder, three tasks, their results, and nothing left behind."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import typer
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from app.cli.exit_codes import ExitCode
from app.cli.following import Follower, TaskEvent
from app.cli.progress import described
from app.cli.rendering import print_task
from app.cli.server import Json, Server
from app.cli.simulate import ScenarioOption, SeedOption, simulation_of
from app.cli.terminal import out
from app.cli.up import Narrator, StopSignals, remarks, started
from app.devstack.logfile import Severity
from app.devstack.session import Options, Stack, open_stack
from app.devstack.stack import Simulation
from app.ids import new_id
from app.settings import Settings

_LONGEST = timedelta(seconds=60)
_SCENARIO_TIMEOUT = "5"


@dataclass(frozen=True, slots=True)
class Act:
    """One task of the demonstration and the outcome that proves the stack."""

    name: str
    text: str
    status: str
    error_type: str | None = None

    def went_as_expected(self, task: Json) -> bool:
        error = task.get("error") or {}
        return task.get("status") == self.status and (error.get("type") if error else None) == self.error_type


ACTS = (
    Act("content", "Write a short article about AI agents and multi-agent systems.", "completed"),
    Act("code", "Write a Python function that returns the first n Fibonacci numbers.", "completed"),
    Act("nobody's", "Book me a flight to Paris for next Friday.", "failed", "UNKNOWN_TASK_TYPE"),
)


def demo(scenario: ScenarioOption = None, seed: SeedOption = 0) -> None:
    """Start a throw-away stack with the simulator, run three tasks, show the results, stop."""
    simulation = simulation_of(scenario, seed) if scenario else None
    raise typer.Exit(asyncio.run(run_demo(out, simulation=simulation)))


async def run_demo(console: Console, acts: Sequence[Act] = ACTS, *, simulation: Simulation | None = None) -> ExitCode:
    """OK only if every task ended as its act says, which some scenarios prevent."""
    with tempfile.TemporaryDirectory(prefix="orchestrate-demo-") as folder:
        options = Options(
            data_dir=Path(folder),
            port=0,
            hermetic=True,
            # Not a minute for a model that will not answer.
            extra_environment={"LLM_TIMEOUT_SEC": _SCENARIO_TIMEOUT} if simulation else None,
            simulation=simulation,
        )
        stack = await open_stack(options, Settings.model_construct(), Narrator(console, least=Severity.ERROR))
        signals = StopSignals()
        signals.install(on_hurry=stack.hurry)
        try:
            if not await started(stack, signals.asked):
                return ExitCode.INTERRUPTED
            return await _until_stopped(console, stack, acts, signals.asked)
        finally:
            await stack.stop()


async def _until_stopped(console: Console, stack: Stack, acts: Sequence[Act], stop: asyncio.Event) -> ExitCode:
    for remark in remarks(stack):
        console.print(Text(remark, style="yellow"))
    performance = asyncio.create_task(_perform(console, stack, acts))
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({performance, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if performance.done():
        return performance.result()
    performance.cancel()
    await asyncio.wait({performance})
    return ExitCode.INTERRUPTED


async def _perform(console: Console, stack: Stack, acts: Sequence[Act]) -> ExitCode:
    async with Server(stack.plan.api_url) as server, asyncio.timeout(_LONGEST.total_seconds()):
        tasks = await asyncio.gather(*(_play(console, server, act) for act in acts))
    for act, task in zip(acts, tasks, strict=True):
        console.print(Rule(f"the {act.name} task"))
        console.print(Text(act.text, style="italic"))
        print_task(console, task)
    return _verdict(console, acts, tasks)


async def _play(console: Console, server: Server, act: Act) -> Json:
    accepted = await server.post("agent", "execute", body={"task": act.text}, idempotency_key=new_id())
    return await Follower(server, "tasks", str(accepted["task_id"]), live=False).follow(_teller(console, act.name))


def _teller(console: Console, name: str) -> Callable[[TaskEvent], None]:
    def tell(event: TaskEvent) -> None:
        line = described(event)
        if line is not None:
            console.print(Text(f"{name:9} {line}", style="dim"))

    return tell


def _verdict(console: Console, acts: Sequence[Act], tasks: Sequence[Json]) -> ExitCode:
    wrong = [act.name for act, task in zip(acts, tasks, strict=True) if not act.went_as_expected(task)]
    console.print(Rule())
    if wrong:
        console.print(Text(f"not as expected: {', '.join(wrong)}", style="bold red"))
        return ExitCode.FAILED
    console.print(Text("all three ended as expected; stopping", style="bold green"))
    return ExitCode.OK
