"""What `orchestrate doctor` finds out about plug-ins: it loads them as a worker would."""

import asyncio
from collections.abc import Iterator

from app.agents.plugins import BrokenPlugin, broken_plugin
from app.agents.registry import Registry, build_registry
from app.agents.tools.errors import ToolNotUsable
from app.agents.tools.functions import load_function
from app.cli.check import Check, fail, ok
from app.settings import Settings


async def check_plugins(settings: Settings) -> Check:
    # Importing a stranger's package takes as long as it takes.
    return await asyncio.to_thread(_examined, settings)


def _examined(settings: Settings) -> Check:
    registry = build_registry(settings)
    failing = [*registry.list_broken(), *registry.load_plugged_in(), *_broken_tools(registry)]
    if failing:
        told = "; ".join(f"{plugin.distribution} ({plugin.entry_point}): {plugin.reason}" for plugin in failing)
        return fail("plug-ins", told, "mend or uninstall the package, or leave it out of AGENT_PLUGINS")
    agents = [spec for spec in registry.list_agents() if registry.is_plugged_in(spec.name)]
    if not agents and not registry.list_tools():
        return ok("plug-ins", "no package adds agents or tools")
    return ok("plug-ins", f"{len(agents)} agents and {len(registry.list_tools())} tools of packages load")


def _broken_tools(registry: Registry) -> Iterator[BrokenPlugin]:
    for spec in registry.list_tools():
        try:
            load_function(spec)
        except ToolNotUsable as error:
            yield broken_plugin(registry.origin_of_tool(spec.name), f"tool {spec.name}", error)
