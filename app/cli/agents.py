"""`orchestrate agents`: which agents this installation has, and a package for a new one."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from app.agents.catalogue import Catalogue
from app.agents.plugins import BrokenPlugin
from app.agents.registry import Registry, build_registry
from app.agents.schemas import Agent, fields_of
from app.cli.options import JsonOption
from app.cli.scaffold.package import named, write_package
from app.cli.terminal import clean, err, out, print_json
from app.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="List and show the installed agents, and make a package for a new one.")

_COLUMNS = "{:22} {:14} {:9} {:7} {:9} {}"


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the agents of this installation; packages that do not work are listed with the reason."""
    settings = load_settings()
    registry = build_registry(settings)
    agents = _agents(registry, settings)
    if as_json:
        failing = [_told(plugin) for plugin in registry.list_broken()]
        print_json(out, {"items": [agent.model_dump(mode="json") for agent in agents], "failing": failing})
        return
    out.print(Text(_COLUMNS.format("agent", "type", "version", "cost", "routable", "origin"), style="bold"))
    for agent in agents:
        routable = "yes" if agent.routable else "no"
        cells = (agent.name, agent.agent_type, agent.version, agent.cost_class, routable, agent.origin)
        out.print(Text(_COLUMNS.format(*map(clean, cells))))
    for plugin in registry.list_broken():
        told = f"failing: {plugin.distribution} ({plugin.entry_point}): {plugin.reason}"
        err.print(Text(clean(told), style="red"))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The agent's exact name.")], as_json: JsonOption = False
) -> None:
    """Show one agent: what it takes, what it gives, which tools it may call."""
    settings = load_settings()
    agent = Agent(**fields_of(Catalogue(build_registry(settings), settings.mcp_servers).get_agent(name)))
    if as_json:
        print_json(out, agent.model_dump(mode="json"))
        return
    out.print(Text(clean(f"{agent.name} {agent.version}"), style="bold"))
    out.print(Text(clean(agent.description)))
    for label, value in (
        ("type", agent.agent_type),
        ("origin", agent.origin),
        ("cost", agent.cost_class),
        ("model role", agent.model_role),
        ("routable", "yes" if agent.routable else "no, name it"),
        ("tools", ", ".join(agent.tools) or "none"),
        ("input", _members(agent.input_schema)),
        ("output", _members(agent.output_schema)),
        *(("example", example) for example in agent.examples),
    ):
        out.print(Text(clean(f"{label:11} {value}")))


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For instance weather; the agent is a WeatherAgent.")],
    parent: Annotated[Path, typer.Option("--dir", help="Folder to write the package into.")] = Path(),
) -> None:
    """Write a package with a new agent, its contract, prompt and tests."""
    agent = named(name)
    folder = write_package(agent, parent)
    out.print(Text(clean(folder)))
    where = clean(folder)
    err.print(Text(f"test it:    python -m pytest {where}\ninstall it: python -m pip install {where}"))
    err.print(Text("then start the API and the workers again: only then it is known"))


def _agents(registry: Registry, settings: Settings) -> list[Agent]:
    return [Agent(**fields_of(agent)) for agent in Catalogue(registry, settings.mcp_servers).list_agents()]


def _told(plugin: BrokenPlugin) -> dict[str, str]:
    return {"distribution": plugin.distribution, "entry_point": plugin.entry_point, "reason": plugin.reason}


def _members(schema: dict[str, Any] | None) -> str:
    """The names of what is in it; the whole schema is in the JSON."""
    if schema is None:
        return "none"
    return ", ".join(schema.get("properties", {})) or "see --json"
