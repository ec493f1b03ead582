"""What `orchestrate doctor` finds out about plug-ins, loaded as by a worker, and about policies that name them."""

import asyncio
from collections.abc import Iterator

from app.agents.plugins import BrokenPlugin, broken_plugin
from app.agents.registry import Registry, build_registry
from app.agents.tools.errors import ToolNotUsable
from app.agents.tools.functions import load_function
from app.cli.check import Check, fail, ok
from app.errors import Invalid
from app.governance.evaluation.plugins import load_evaluators
from app.settings import Settings
from app.tasks.evaluation import ANY_AGENT, check_evaluation


async def check_plugins(settings: Settings) -> Check:
    # Importing a stranger's package takes as long as it takes.
    return await asyncio.to_thread(_examined, settings)


async def check_policies(settings: Settings) -> Check:
    return await asyncio.to_thread(_examined_policies, settings)


def _examined_policies(settings: Settings) -> Check:
    policies = settings.evaluation_policies
    registry, evaluators = build_registry(settings), load_evaluators(settings.agent_plugins)
    agents = {ANY_AGENT, *(spec.name for spec in registry.list_agents())}
    problems = [f"there is no agent {name!r}" for name in policies if name not in agents]
    for name, policy in policies.items():
        try:
            check_evaluation(policy, evaluators.names)
        except Invalid as error:
            problems.append(f"{name}: {error.message}")
    if problems:
        remedy = "mend EVALUATION_POLICIES: see `orchestrate agents list` and `orchestrate evaluators list`"
        return fail("evaluation", "; ".join(problems), remedy)
    told = f"{len(policies)} policies name what is there" if policies else "no policy; tasks say what they want"
    return ok("evaluation", told)


def _examined(settings: Settings) -> Check:
    registry, evaluators = build_registry(settings), load_evaluators(settings.agent_plugins)
    failing = [
        *registry.list_broken(),
        *registry.load_plugged_in(),
        *_broken_tools(registry),
        *evaluators.list_broken(),
        *evaluators.load_all(),
    ]
    if failing:
        told = "; ".join(f"{plugin.distribution} ({plugin.entry_point}): {plugin.reason}" for plugin in failing)
        return fail("plug-ins", told, "mend or uninstall the package, or leave it out of AGENT_PLUGINS")
    agents = [spec for spec in registry.list_agents() if registry.is_plugged_in(spec.name)]
    counted = {"agents": agents, "tools": registry.list_tools(), "evaluators": evaluators.names}
    if not any(counted.values()):
        return ok("plug-ins", "no package adds agents, tools or evaluators")
    found = ", ".join(f"{len(some)} {kind}" for kind, some in counted.items())
    return ok("plug-ins", f"{found} of packages load")


def _broken_tools(registry: Registry) -> Iterator[BrokenPlugin]:
    for spec in registry.list_tools():
        try:
            load_function(spec)
        except ToolNotUsable as error:
            yield broken_plugin(registry.origin_of_tool(spec.name), f"tool {spec.name}", error)
