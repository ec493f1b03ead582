"""One attempt at a step as its document keeps it: who worked with which models, for how long and at what cost."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.agents.metering import Meter
from app.clock import Clock
from app.errors import NotAsked, OrchestratorError
from app.events.publishing import LiveAttempt
from app.ids import new_id
from app.jobs.runner import Attempt
from app.llm.errors import AgentOutputInvalid
from app.llm.usage import NO_USAGE
from app.metrics.rollups import UNCHARGED
from app.metrics.usage import NOTE, added_to, note_of
from app.tasks.runs import NewTape, Run, RunTapes
from app.workflows.steps.transcripts import Transcript

ATTEMPTS = "attempts"
# What an attempt that was stopped says, whoever stopped it: the job's history knows.
_SECOND_MS = 1000
INTERNAL = {"type": "INTERNAL", "message": "the agent raised an error of its own"}
STOPPED = {"type": "CANCELLED", "message": "the attempt was stopped before it had ended"}


class StepRuns:
    """Adds up what agents do in one attempt, also when it fails or is stopped."""

    def __init__(
        self,
        attempt: Attempt,
        live: LiveAttempt,
        transcript: Transcript,
        *,
        clock: Clock,
        new_meter: Callable[[], Meter],
        new_tape: NewTape,
    ) -> None:
        self.tapes = RunTapes(attempt.job, new_tape)
        self.agent: str | None = attempt.job.document.get("agent")
        self.transcript = transcript
        self._attempt = attempt
        self._live = live
        self._clock = clock
        self._new_meter = new_meter
        self._meters: list[Meter] = []
        self._started_at = clock()
        self._started = time.monotonic()

    @contextmanager
    def run(self, agent_name: str, agent_role: str) -> Iterator[Run]:
        self.agent = agent_name
        error: Mapping[str, str] | None = INTERNAL
        run_id, status = new_id(), "failed"
        live = self._live.begin_run(run_id, agent_name, agent_role, is_quiet=True)
        tape, began = self.tapes.new_tape(), time.monotonic()
        run = Run(agent_name, agent_role, self._new_meter(), self._clock(), run_id, live, tape=tape)
        self._meters.append(run.meter)
        try:
            yield run
            status, error = "completed", None
        except asyncio.CancelledError:
            status, error = "cancelled", STOPPED
            raise
        except OrchestratorError as failure:
            error = told(failure)
            if isinstance(failure, NotAsked) and not run.meter.calls:
                # As often as the provider is down, and nothing to be replayed each time.
                run.tape = None
            raise
        finally:
            live.finish(status, model=run.meter.model)
            self.tapes.note(run, round((time.monotonic() - began) * _SECOND_MS, 1), error)

    def feedback_on(self, agent_name: str) -> str | None:
        return feedback_on(self._attempt.job.document[ATTEMPTS], agent_name)

    def note(self, error: Mapping[str, Any] | None, *, is_charged: bool = True) -> None:
        """The attempt has ended: write down what is known of it with whatever becomes of the step."""
        evidence, cost = self._attempt.evidence, self._cost()
        evidence.label = self.agent
        self._charge(cost)
        evidence.fields["agent"] = self.agent
        evidence.append(
            ATTEMPTS,
            {
                "number": self._attempt.job.attempt,
                "agent": self.agent,
                "models": list(dict.fromkeys(model for meter in self._meters for model in meter.models)),
                "prompts": {name: digest for meter in self._meters for name, digest in meter.prompts.items()},
                "prompt_sha256": self.transcript.sha256,
                "cost": cost,
                "started_at": self._started_at,
                "finished_at": self._clock(),
                "error": error,
                "charged": is_charged,
            },
        )

    def _charge(self, cost: Mapping[str, Any]) -> None:
        """To the tenant and the agent, in the totals of the day."""
        if not cost["model_calls"]:
            return
        job, evidence = self._attempt.job, self._attempt.evidence
        consumed = {**cost, "total_tokens": cost["tokens"], "usd_estimate": cost["usd"]}
        note = note_of(consumed, self.agent or job.document["kind"])
        evidence.noted[NOTE] = added_to(job.document["history"], note)
        evidence.fields[UNCHARGED] = True

    def _cost(self) -> dict[str, Any]:
        usage = sum((meter.usage for meter in self._meters), NO_USAGE)
        return {
            "usd": round(sum(meter.usd for meter in self._meters), 8),
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "tokens": usage.total,
            "model_calls": sum(meter.calls for meter in self._meters),
            "unpriced_calls": sum(meter.unpriced_calls for meter in self._meters),
            "seconds": round(time.monotonic() - self._started, 3),
        }


def feedback_on(attempts: Sequence[Mapping[str, Any]], agent_name: str) -> str | None:
    """Why the last answer of this agent was refused; None when it was not.

    An attempt in which nobody was asked says nothing about the one before.
    """
    for one in reversed(attempts):
        if one["agent"] == agent_name and one["charged"]:
            error = one["error"] or {}
            return str(error["message"]) if error.get("type") == AgentOutputInvalid.code else None
    return None


def failures_in(attempts: Sequence[Mapping[str, Any]]) -> int:
    """Attempts that count against the step's retries."""
    return sum(one["error"] is not None and one["charged"] for one in attempts)


def told(error: OrchestratorError) -> dict[str, str]:
    return {"type": error.code, "message": error.message}


def is_charged(error: OrchestratorError) -> bool:
    return not isinstance(error, NotAsked)
