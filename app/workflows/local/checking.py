"""What keeps a plan from being run here, found before it begins. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from app.agents.registry import Registry
from app.agents.tools.allowing import tools_of
from app.errors import Invalid
from app.governance.approvals.terms import ApprovalTerms
from app.governance.scoring.scorer import acting_tools
from app.setting_mcp import McpServer
from app.workflows.language.models import ApprovalSpec, Step
from app.workflows.local.people import is_decided, step_of
from app.workflows.places import scopes_of, steps_in, way_to
from app.workflows.plan import Plan, Scope
from app.workflows.run import ENDING
from app.workflows.steps.approvals import Approval


def check_effects(plan: Plan, registry: Registry, servers: Mapping[str, McpServer]) -> None:
    """Raises `Invalid` for agents with tools that change something outside: only a server keeps that from being done
    twice."""
    acting = acting_tools(registry, servers)
    specs = (registry.find_agent(step.agent) for step in steps_in(plan) if step.agent)
    found = {spec.name: sorted(tools_of(spec, servers) & acting) for spec in specs if spec}
    if told := [f"{name} ({', '.join(tools)})" for name, tools in sorted(found.items()) if tools]:
        raise Invalid(
            f"agents with tools that change something outside do not run in this process: {'; '.join(told)}. Store the "
            "workflow on a server (`orchestrate workflows put`) and execute it there"
        )


def check_answers(plan: Plan, answers: Mapping[str, Sequence[Approval]], *, me: str, is_governed: bool = False) -> None:
    """Raises `Invalid` for answers to no approval of the plan, of nobody who may give them, or of too few people.

    A run that ``is_governed`` may have to wait with any step, and with calls of tools.
    """
    asked = dict(_approvals(plan))
    for name, given in answers.items():
        wanted = step_of(name.partition("@")[0])
        specs = [spec for path, spec in asked.items() if wanted in (path, path.rpartition(".")[2])]
        if not specs and not (is_governed and _is_step(plan, wanted)):
            near = get_close_matches(wanted, asked, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise Invalid(f"--approve {name}: {meant}approvals here are {', '.join(asked) or 'none'}")
        for spec in specs:
            check_given(name, given, spec, me)


def check_given(name: str, given: Sequence[Approval], spec: ApprovalSpec | ApprovalTerms, me: str) -> None:
    """Raises `Invalid`."""
    # Whoever owns the machine is like an admin on a server, who may always.
    allowed = {me, *spec.approvers}
    if strangers := [one.by for one in given if spec.approvers and one.by not in allowed]:
        raise Invalid(f"--approve {name}: {strangers[0]} is none of its approvers: {', '.join(spec.approvers)}")
    if len({one.by for one in given}) < len(given):
        raise Invalid(f"--approve {name}: {given[-1].by} can answer once; say whose answers they are by `by`")
    if not is_decided(given, spec.quorum):
        raise Invalid(
            f"--approve {name}: {spec.quorum} people have to approve, and {len(given)} did; give it once for each: "
            f'--approve \'{name}={{"approved": true, "by": "NAME"}}\''
        )


def _is_step(plan: Plan, wanted: str) -> bool:
    return bool(way_to(plan, wanted)) or any(path.rpartition(".")[2] == wanted for path, _ in _steps(plan))


def _approvals(plan: Plan) -> Iterator[tuple[str, ApprovalSpec]]:
    """By their paths without the numbers of items and iterations."""
    return ((path, step.approval) for path, step in _steps(plan) if step.approval is not None)


def _steps(plan: Plan) -> Iterator[tuple[str, Step]]:
    todo: list[tuple[Plan, Scope, str]] = [(plan, plan.body, ""), (plan, plan.ending, f"{ENDING}.")]
    while todo:
        around, scope, prefix = todo.pop(0)
        for node in scope.nodes:
            path = f"{prefix}{node.name}"
            yield path, node.step
            inner, inside = scopes_of(around, node)
            ending = inner.ending if inner is not around else None
            todo += [(inner, one, f"{path}.{ENDING}." if one is ending else f"{path}.") for one in inside]
