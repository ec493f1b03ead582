"""Agent runs: who worked on a task in which role, with which model and tools, for how long and at what cost."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.agents.metering import Meter
from app.clock import Clock
from app.errors import CircuitOpen, OrchestratorError
from app.ids import new_id
from app.jobs.runner import Attempt
from app.llm.errors import AgentOutputInvalid
from app.llm.prices import usd_total
from app.llm.usage import TokenUsage

LONGEST_TEXT = 64 * 1024


@dataclass(slots=True)
class Run:
    """One agent's work in progress; what it produced is noted in ``output``."""

    agent_name: str
    agent_role: str
    meter: Meter
    started_at: datetime
    output: str | None = None


class RunRecorder:
    """Notes every run of one attempt as evidence, and adds up what it cost, also when it fails or is stopped."""

    def __init__(self, attempt: Attempt, *, clock: Clock) -> None:
        self._attempt = attempt
        self._clock = clock
        self._task = attempt.job.document
        self._cost: Mapping[str, Any] = self._task["cost"] or {}

    @contextmanager
    def run(self, agent_name: str, agent_role: str) -> Iterator[Run]:
        run = Run(agent_name, agent_role, Meter(), self._clock())
        try:
            yield run
        except asyncio.CancelledError:
            self._note(run, "cancelled", None)
            raise
        except CircuitOpen as error:
            self._attempt.evidence.fields["circuit"] = dict(error.details)
            # Refused as often as the provider is down, tasks would push what they really did out of their runs.
            if run.meter.calls:
                self._note(run, "failed", {"type": error.code, "message": error.message})
            raise
        except OrchestratorError as error:
            self._note(run, "failed", {"type": error.code, "message": error.message})
            raise
        except Exception as error:
            self._note(run, "failed", {"type": "INTERNAL", "message": type(error).__name__})
            raise
        else:
            self._note(run, "completed", None)

    def _note(self, run: Run, status: str, error: Mapping[str, str] | None) -> None:
        finished_at, usage = self._clock(), run.meter.usage
        self._cost = add_cost(self._cost, usage, usd_total(run.meter.usage_by_model), calls=run.meter.calls)
        self._attempt.evidence.fields["cost"] = self._cost
        self._attempt.evidence.append(
            "agent_runs",
            {
                "run_id": new_id(),
                "task_id": self._task["_id"],
                "session_id": self._task["session_id"],
                "agent_name": run.agent_name,
                "agent_role": run.agent_role,
                "input": self._task["input_text"][:LONGEST_TEXT],
                "output": run.output[:LONGEST_TEXT] if run.output else None,
                "model": run.meter.model,
                "tools_used": list(run.meter.tools_used),
                "started_at": run.started_at,
                "finished_at": finished_at,
                "duration_ms": round((finished_at - run.started_at).total_seconds() * 1000, 1),
                "token_usage": {"prompt": usage.prompt, "completion": usage.completion, "total": usage.total},
                "status": status,
                "attempt": self._attempt.job.attempt,
                "error": error,
            },
        )


def feedback_on(task: Mapping[str, Any], agent_name: str) -> str | None:
    """Why the last answer that this agent gave in this series of attempts was refused; None when it was not.

    An attempt in which the agent got no answer says nothing about the one before.
    """
    for run in reversed(task["agent_runs"]):
        if run["started_at"] < task["queued_at"]:
            break
        if run["agent_name"] == agent_name and run["status"] == "completed":
            break
        if run["agent_name"] == agent_name and (run["error"] or {}).get("type") == AgentOutputInvalid.code:
            return str(run["error"]["message"])
    return None


def add_cost(cost: Mapping[str, Any], usage: TokenUsage, usd: float, *, calls: int) -> dict[str, Any]:
    """What a task has cost so far, over all its attempts."""
    return {
        "prompt_tokens": cost.get("prompt_tokens", 0) + usage.prompt,
        "completion_tokens": cost.get("completion_tokens", 0) + usage.completion,
        "total_tokens": cost.get("total_tokens", 0) + usage.total,
        "usd_estimate": round(cost.get("usd_estimate", 0.0) + usd, 8),
        "model_calls": cost.get("model_calls", 0) + calls,
    }
