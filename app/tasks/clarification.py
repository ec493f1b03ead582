"""A task whose router is not sure asks its client instead of failing, if the client wants that. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.agents.registry import Registry
from app.agents.routing import RoutingRule, Unrouted
from app.errors import Invalid
from app.jobs.outcomes import Suspended
from app.tasks.holds import Answer, HoldKind, held
from app.tasks.inputs import check_submitted, read_inputs
from app.tasks.models import CLARIFY
from app.tasks.retry_policy import RetryPolicies, policy_fields

# The field of a task with what its client said in other words.
CLARIFICATIONS = "clarifications"
MOST_CLARIFICATIONS = 3
# Naming an agent would not help: the input cannot be handed in any more.
_BEYOND_WORDS = frozenset({RoutingRule.MISSING_INPUT})


def may_be_asked(task: Mapping[str, Any], unrouted: Unrouted) -> bool:
    """Whether an answer of the client can help, and was not given in vain several times already."""
    asked = len(task.get(CLARIFICATIONS) or ())
    return bool(task.get(CLARIFY)) and unrouted.grounds.rule not in _BEYOND_WORDS and asked < MOST_CLARIFICATIONS


def question(unrouted: Unrouted, *, since: datetime) -> Suspended:
    """The task waits for its client to name an agent, or to say in other words what is to be done."""
    options = ", ".join(unrouted.options)
    message = f"{unrouted.why}: name an agent ({options}), or say in other words what is to be done"
    facts = {"rule": unrouted.grounds.rule.value, "options": list(unrouted.options)}
    return held(HoldKind.CLARIFICATION, message, since=since, facts=facts)


def named_agent(agent: str, registry: Registry, retries: RetryPolicies) -> Answer:
    """The client names the agent. Raises `Invalid` for one that does not exist, and later for one that lacks input."""
    names = [spec.name for spec in registry.list_agents()]
    if agent not in names:
        raise Invalid(f"no agent of this name; there are {', '.join(names)}", field="agent")

    def fields(task: Mapping[str, Any]) -> dict[str, Any]:
        check_submitted(registry.get_agent(agent), read_inputs(task))
        return {"requested_agent": agent, **policy_fields(retries.of_agent(task, agent))}

    return Answer(HoldKind.CLARIFICATION, {"agent": agent}, fields)


def other_words(text: str) -> Answer:
    """The client says more, and the task is routed again."""

    def fields(task: Mapping[str, Any]) -> dict[str, Any]:
        return {CLARIFICATIONS: [*(task.get(CLARIFICATIONS) or ()), text]}

    return Answer(HoldKind.CLARIFICATION, {"text": text}, fields)


def clarified_text(task: Mapping[str, Any]) -> str:
    """What the task asks for, with what its client said later."""
    return "\n\n".join([task["input_text"], *(task.get(CLARIFICATIONS) or ())])
