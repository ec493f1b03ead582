"""Where a task goes, as its document tells it, and what becomes of one that no agent takes. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from app.agents.routing import Grounds, Route, RoutingRule, Unrouted
from app.agents.specs import AgentSpec
from app.jobs.outcomes import Finished, Outcome
from app.tasks.clarification import may_be_asked, question
from app.tasks.models import is_dry_run

REFUSAL = "routing_refusal"


def chosen_by_client(spec: AgentSpec) -> Route:
    return _certain(spec, RoutingRule.CLIENT_CHOICE, "The client chose this agent.")


def chosen_by_input(spec: AgentSpec) -> Route:
    return _certain(spec, RoutingRule.TYPED_INPUT, "Only this agent takes such input.")


def routing_fields(found: Route | Unrouted) -> dict[str, Any]:
    """What is stored of a decision. A task that goes nowhere has no agent, and its routing says what was considered."""
    route = found if isinstance(found, Route) else None
    return {
        "selected_agent": route and route.agent_name,
        "agent_type": route and route.agent_type,
        "peer_routing_reason": found.reasoning,
        "routing": {
            "agent_name": found.agent_name,
            "confidence": found.confidence,
            "reasoning": found.reasoning,
            **_told(found.grounds),
        },
    }


def known_route(task: Mapping[str, Any]) -> Route | None:
    """What an earlier attempt decided, and paid for; None while nothing is."""
    routing, agent = task["routing"], task["selected_agent"]
    if routing is None or agent is None:
        return None
    # Its grounds are stored already, and a task of an older version has none.
    grounds = Grounds(RoutingRule(routing.get("rule", RoutingRule.MODEL_CHOICE)))
    return Route(agent, task["agent_type"], routing["confidence"], routing["reasoning"], grounds)


def without_agent(task: Mapping[str, Any], unrouted: Unrouted, *, now: datetime) -> Outcome:
    """What becomes of a task that goes nowhere; raises its error unless that was asked, or somebody can be asked."""
    if is_dry_run(task):
        refusal = {"type": unrouted.error.code, "message": unrouted.error.message}
        return Finished({**routing_fields(unrouted), REFUSAL: refusal})
    if may_be_asked(task, unrouted):
        return question(unrouted, since=now)
    raise unrouted.error


def _certain(spec: AgentSpec, rule: RoutingRule, reasoning: str) -> Route:
    return Route(spec.name, spec.agent_type, 1.0, reasoning, Grounds(rule))


def _told(grounds: Grounds) -> dict[str, Any]:
    return {
        "rule": grounds.rule.value,
        "candidates": [one.model_dump() for one in grounds.candidates],
        "prompt": asdict(grounds.prompt) if grounds.prompt else None,
        "model": grounds.model,
        "threshold": grounds.threshold,
    }
