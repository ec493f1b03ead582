"""What policies are told of steps, on workers and on one's own machine alike. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.tasks.policy_facts import spend_facts


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose step it is; ``caller`` is the key that asked for it, empty when none did."""

    tenant_id: str
    execution_id: str
    workflow: str
    caller: str


def facts_of_step(
    whose: Whose,
    kind: str,
    agent: str,
    path: str,
    given: Mapping[str, Any],
    *,
    attempt: int,
    costs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """By name. ``agent`` is the one that the step names, else empty; ``costs`` are those of earlier attempts.

    ``given`` is what the step is given, as `rendered` has it.
    """
    return {
        "step.execution_id": whose.execution_id,
        "step.workflow": whose.workflow,
        "step.path": path,
        "step.kind": kind,
        "step.attempt": attempt,
        "step.input": dict(given),
        "agent.name": agent,
        "scores.available": False,
        "tenant.id": whose.tenant_id,
        "caller.key_id": whose.caller,
        **spend_facts(costs),
    }
