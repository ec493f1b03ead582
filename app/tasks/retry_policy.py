"""Which retry policy a task has: its own wishes come first, then its agent's, then the deployment's."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.agents.registry import Registry
from app.jobs.models import Job
from app.jobs.retry import Backoff, RetryPolicy, RetryWish, resolve

# The document's fields: what the client asked for, and what is in force.
WISH, POLICY = "retry_wish", "retry"


class RetryPolicies:
    """Resolves the policy when a task is accepted and again when its agent is known; in between it is stored."""

    def __init__(self, default: RetryPolicy, registry: Registry) -> None:
        self._default = default
        self._registry = registry

    def resolve(self, wish: RetryWish | None, agent: str | None) -> RetryPolicy:
        """``agent`` is None while the task is not routed."""
        return resolve(self._default, wish, self._registry.get_agent(agent).retry if agent else None)

    def of_agent(self, task: Mapping[str, Any], agent: str) -> RetryPolicy:
        """The policy of a stored task that this agent will do."""
        return self.resolve(read_wish(task.get(WISH)), agent)

    def of_job(self, job: Job) -> RetryPolicy:
        """The policy stored with the task; of tasks that an older version stored, the deployment's."""
        stored = job.document.get(POLICY)
        known = read_policy(stored) if stored else self._default
        return replace(known, max_attempts=job.max_attempts)


def policy_fields(policy: RetryPolicy) -> dict[str, Any]:
    """The policy as the task's document holds it and as clients see it."""
    return {
        "max_attempts": policy.max_attempts,
        POLICY: {
            "max_attempts": policy.max_attempts,
            "initial_seconds": policy.backoff.initial.total_seconds(),
            "max_seconds": policy.backoff.maximum.total_seconds(),
            "max_total_seconds": policy.max_total.total_seconds() or None,
        },
    }


def read_policy(stored: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=stored["max_attempts"],
        backoff=Backoff(
            initial=timedelta(seconds=stored["initial_seconds"]), maximum=timedelta(seconds=stored["max_seconds"])
        ),
        max_total=timedelta(seconds=stored["max_total_seconds"] or 0),
    )


def wish_as_json(wish: RetryWish | None) -> dict[str, Any] | None:
    """The wish as it crosses the wire and is stored."""
    if wish is None:
        return None
    return {
        "max_attempts": wish.max_attempts,
        "initial_seconds": _seconds(wish.initial),
        "max_seconds": _seconds(wish.maximum),
        "max_total_seconds": _seconds(wish.max_total),
    }


def read_wish(stored: Mapping[str, Any] | None) -> RetryWish | None:
    if stored is None:
        return None
    return RetryWish(
        max_attempts=stored["max_attempts"],
        initial=_duration(stored["initial_seconds"]),
        maximum=_duration(stored["max_seconds"]),
        max_total=_duration(stored["max_total_seconds"]),
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
