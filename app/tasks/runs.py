"""Agent runs: who worked on a task in which role, with which model and tools, for how long and at what cost."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from app.agents.base import AgentOutput, AgentRequest, AgentTools
from app.agents.metering import Meter, ModelUse
from app.clock import Clock, to_iso
from app.errors import CircuitOpen, NotAsked, OrchestratorError
from app.events.publishing import LiveAttempt, LiveRun
from app.ids import new_id
from app.jobs.models import Job
from app.jobs.runner import Attempt
from app.jobs.transitions import Evidence
from app.llm.errors import AgentOutputInvalid
from app.metrics.usage import NOTE, note_of
from app.replay.models import RecordedError, RecordedRun, Recording
from app.replay.tape import Tape, recorded_run
from app.tasks.models import ROUTER, agent_of
from app.version import VERSION

LONGEST_TEXT, SHORT_TEXT = 64 * 1024, 1024
# Bytes of the texts of all of a task's runs: its input and its result have to fit beside them into one document. Once
# they are reached, runs keep the beginning of their texts only.
MOST_TEXT = 4 * 1024 * 1024
COST = "cost"
COUNTED_TO, COUNTED_ROUND = "cost_counted_to", "cost_counted_round"


@dataclass(slots=True)
class Run:
    """One agent's work in progress; what it produced is noted in ``output``."""

    agent_name: str
    agent_role: str
    meter: Meter
    started_at: datetime
    run_id: str
    live: LiveRun
    output: str | None = None
    tape: Tape | None = None

    def recorded(self, tools: AgentTools, request: AgentRequest, *, version: str | None = None) -> AgentTools:
        """The tools of this run for this request, recorded when its attempt is."""
        if self.tape is None:
            return tools
        self.tape.begin(request, version=version)
        return self.tape.around(tools)

    def finish(self, output: AgentOutput) -> None:
        """This is what the run came to, and it was accepted."""
        self.output = output.raw_output
        if self.tape is not None:
            self.tape.end(output)


NewTape = Callable[[], Tape | None]


class RunTapes:
    """The tapes of one attempt's runs, and what is on those of the runs that have ended."""

    def __init__(self, job: Job, new_tape: NewTape) -> None:
        """``new_tape`` has none when nothing is recorded."""
        self.new_tape = new_tape
        self._job = job
        self._recorded: list[RecordedRun] = []

    def note(self, run: Run, duration_ms: float, error: Mapping[str, str] | None) -> None:
        """The run has ended; one that never came to its agent leaves nothing."""
        if run.tape is None or run.tape.request is None:
            return
        known = recorded_run(
            run.tape,
            run_id=run.run_id,
            agent_name=run.agent_name,
            agent_role=run.agent_role,
            error=RecordedError.model_validate(error) if error else None,
            usd=run.meter.usd,
            tokens=run.meter.usage.total,
            started_at=to_iso(run.started_at),
            duration_ms=duration_ms,
            prompts=dict(run.meter.prompts),
        )
        self._recorded.append(known)

    @property
    def recording(self) -> Recording:
        runs = tuple(self._recorded)
        return Recording(task_id=self._job.id, attempt=self._job.attempt, runs=runs, made_by=VERSION)


class RunRecorder:
    """Notes every run of one attempt as evidence, and adds up what it cost, also when it fails or is stopped."""

    def __init__(
        self,
        attempt: Attempt,
        live: LiveAttempt,
        *,
        clock: Clock,
        new_meter: Callable[[], Meter] = Meter,
        new_tape: NewTape = lambda: None,
    ) -> None:
        self.tapes = RunTapes(attempt.job, new_tape)
        self._attempt = attempt
        self._live = live
        self._new_meter = new_meter
        self._clock = clock
        self._task = attempt.job.document
        self._cost: Mapping[str, Any] = self._task["cost"] or {}
        self._room = MOST_TEXT - sum(_size(run["input"]) + _size(run["output"]) for run in self._task["agent_runs"])

    @contextmanager
    def run(self, agent_name: str, agent_role: str) -> Iterator[Run]:
        run_id = new_id()
        live = self._live.begin_run(run_id, agent_name, agent_role)
        tape = self.tapes.new_tape()
        run = Run(agent_name, agent_role, self._new_meter(), self._clock(), run_id, live, tape=tape)
        try:
            yield run
        except asyncio.CancelledError:
            self._note(run, "cancelled", None)
            raise
        except NotAsked as error:
            if isinstance(error, CircuitOpen):
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

    def feedback_on(self, agent_name: str) -> str | None:
        return feedback_on(self._task, agent_name)

    def _note(self, run: Run, status: str, error: Mapping[str, str] | None) -> None:
        run.live.finish(status, model=run.meter.model)
        finished_at = self._clock()
        self._cost = add_cost(self._cost, run.meter)
        duration_ms = round((finished_at - run.started_at).total_seconds() * 1000, 1)
        self.tapes.note(run, duration_ms, error)
        evidence, doer = self._attempt.evidence, self._attempt.evidence.label or agent_of(self._task) or ROUTER
        evidence.fields[COST] = self._cost
        evidence.noted[NOTE] = note_of(self._cost, doer)
        self._attempt.evidence.append(
            "agent_runs",
            {
                "run_id": run.run_id,
                "task_id": self._task["_id"],
                "session_id": self._task["session_id"],
                "agent_name": run.agent_name,
                "agent_role": run.agent_role,
                "input": self._kept(self._task["input_text"]),
                "output": self._kept(run.output) if run.output else None,
                "model": run.meter.model,
                "tools_used": list(run.meter.tools_used),
                "started_at": run.started_at,
                "finished_at": finished_at,
                "duration_ms": duration_ms,
                "first_token_ms": run.live.first_token_ms,
                "token_usage": asdict(run.meter.usage),
                "models": [_used(model, use) for model, use in run.meter.uses.items()],
                "prompts": [{"name": name, "digest": digest} for name, digest in run.meter.prompts.items()],
                "status": status,
                "attempt": self._attempt.job.attempt,
                "error": error,
            },
        )

    def _kept(self, text: str) -> str:
        kept = text[: LONGEST_TEXT if self._room > 0 else SHORT_TEXT]
        self._room -= _size(kept)
        return kept


def counted_fields(fence: int, number: int) -> dict[str, Any]:
    """Written together with a task's cost: the last round of work on its agent's thread that is in it."""
    return {COUNTED_TO: fence, COUNTED_ROUND: number}


def counted_in(task: Mapping[str, Any]) -> tuple[int, int]:
    """That round; an older version knew of one in each attempt."""
    return task.get(COUNTED_TO, 0), task.get(COUNTED_ROUND, 1)


def cost_so_far(evidence: Evidence) -> dict[str, Any]:
    """What an attempt saves of its cost while it goes on."""
    return {name: evidence.fields[name] for name in (COST, COUNTED_TO, COUNTED_ROUND) if name in evidence.fields}


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


def _size(text: str | None) -> int:
    return len(text.encode(errors="replace")) if text else 0


def _used(model: str, use: ModelUse) -> dict[str, Any]:
    return {"model": model, "calls": use.calls, "failures": use.failures, "last_error": use.last_error}


def add_cost(cost: Mapping[str, Any], meter: Meter) -> dict[str, Any]:
    """What a task has cost so far, over all its attempts."""
    usage = meter.usage
    return {
        "prompt_tokens": cost.get("prompt_tokens", 0) + usage.prompt,
        "completion_tokens": cost.get("completion_tokens", 0) + usage.completion,
        "total_tokens": cost.get("total_tokens", 0) + usage.total,
        "usd_estimate": round(cost.get("usd_estimate", 0.0) + meter.usd, 8),
        "model_calls": cost.get("model_calls", 0) + meter.calls,
        "unpriced_calls": cost.get("unpriced_calls", 0) + meter.unpriced_calls,
    }
