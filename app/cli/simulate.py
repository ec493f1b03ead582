"""`orchestrate simulate`: the simulated model provider alone, and which scenarios it can play."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from app.cli.terminal import clean, err, out
from app.devstack.source import with_source
from app.devstack.stack import SIMULATOR_KEY, Simulation
from app.llm.simulator.scenario_files import CALM, built_in_scenarios, load_scenario, scenario_names

_PORT = 8001
_LOOPBACK = "127.0.0.1"
_LIST = "{:17} {}"

ScenarioOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE", help="What goes wrong in the simulator: a built-in scenario (`simulate --list`) or a file."
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed and the same requests have the same faults.")]


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port, 0 for a free one.")] = _PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _LOOPBACK,
    scenario: ScenarioOption = None,
    seed: SeedOption = 0,
    list_: Annotated[bool, typer.Option("--list", help="Only list the built-in scenarios.")] = False,
) -> None:
    """Run the simulator of a model provider and a web search alone, in this process."""
    if list_:
        _print_scenarios()
        return
    simulation = simulation_of(scenario or CALM, seed)
    _announce(simulation, host, port)
    _become_simulator("--host", host, "--port", str(port), "--scenario", simulation.scenario, "--seed", str(seed))


def simulation_of(scenario: str, seed: int) -> Simulation:
    """Raises `ScenarioInvalid` for one that the simulator would not start with."""
    load_scenario(scenario)
    return Simulation(scenario if scenario in scenario_names() else str(Path(scenario).resolve()), seed)


def _print_scenarios() -> None:
    for scenario in built_in_scenarios():
        out.print(Text(_LIST.format(scenario.name, scenario.description)))


def _announce(simulation: Simulation, host: str, port: int) -> None:
    scenario = load_scenario(simulation.scenario)
    err.print(Text(clean(f"scenario {scenario.name}, seed {simulation.seed}: {scenario.description}"), style="dim"))
    if port:
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        err.print(Text(f"OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={SIMULATOR_KEY}", style="dim"))
        err.print(Text(f"TAVILY_BASE_URL={url} TAVILY_API_KEY={SIMULATOR_KEY}", style="dim"))


def _become_simulator(*arguments: str) -> NoReturn:
    """Replace this process, so that signals and exit codes are the simulator's own."""
    argv = [sys.executable, "-m", "app.llm.simulator", *arguments]
    os.execve(sys.executable, argv, with_source(os.environ))  # noqa: S606 - an argv list, no shell
