"""What the journal of a run comes to: a fold over its events, which state, resuming, report and receipt share. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from app.governance.policy.models import Effect, FactKind
from app.hash_chain import Event
from app.workflows.costs import added
from app.workflows.local.evidence import Ref

_WAITING = frozenset({"approval", "wait"})


class RunStatus(StrEnum):
    RUNNING = "running"
    WAITING = "waiting"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}


@dataclass(slots=True)
class AttemptRecord:
    """One try at a step. Without ``finished_at`` it was interrupted."""

    number: int
    started_at: str
    finished_at: str | None = None
    error: dict[str, Any] | None = None
    cost: Mapping[str, float] | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    prompt_sha256: str | None = None
    agent: str | None = None
    models: tuple[str, ...] = ()


@dataclass(slots=True)
class StepRecord:
    """``end`` is None as long as it has not ended; ``waits_for`` says for whom or what, if it does."""

    path: str
    kind: str | None = None
    end: str | None = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    output: Ref | None = None
    error: dict[str, Any] | None = None
    waits_for: dict[str, Any] | None = None
    reused_from: str | None = None
    artifacts: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] | None = None

    @property
    def failures(self) -> int:
        """Attempts that count: an interrupted one does not."""
        return sum(attempt.error is not None for attempt in self.attempts)


@dataclass(slots=True)
class History:
    created: Event = field(default_factory=dict)
    digest: str = ""
    status: RunStatus = RunStatus.RUNNING
    finished_at: str | None = None
    outputs: Ref | None = None
    error: dict[str, Any] | None = None
    steps: dict[str, StepRecord] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    cancelled_after: int | None = None
    approvals: list[dict[str, Any]] = field(default_factory=list)
    resumed: int = 0
    policy: dict[str, Any] | None = None
    asked: dict[tuple[str, str | None], str] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> "History":
        history = cls()
        for event in events:
            history.apply(event)
        return history

    @property
    def execution_id(self) -> str:
        return str(self.created["execution_id"])

    def step(self, path: str) -> StepRecord:
        return self.steps.setdefault(path, StepRecord(path))

    def apply(self, event: Event) -> None:
        """Events of kinds that came later change nothing."""
        subject, _, happened = event["event"].partition(".")
        handler = getattr(self, f"_{subject}_{happened}", None)
        if handler is not None:
            handler(event)

    def answers_to(self, name: str, rule: str) -> list[dict[str, Any]]:
        """What people have said to a question of the policy."""
        return [one for one in self.approvals if one["path"] == name and one.get("rule") == rule]

    def waiting_answers(self) -> tuple[str, ...]:
        """Names of the questions that wait for an answer, as `--approve` takes them."""
        waiting = (step.waits_for for step in self.steps.values() if step.waits_for and step.end is None)
        return tuple(str(one["answer"]) for one in waiting if one.get("answer"))

    def cost(self) -> dict[str, float]:
        return added(attempt.cost for step in self.steps.values() for attempt in step.attempts if attempt.cost)

    def cost_of(self, path: str) -> dict[str, float]:
        """Of a step and everything inside of it, as budgets count it: time in which somebody is waited for is none."""
        inside = (f"{path}.", f"{path}[")
        known = [step for name, step in self.steps.items() if not path or name == path or name.startswith(inside)]
        steps = [step for step in known if step.kind not in _WAITING]
        return added(attempt.cost for step in steps for attempt in step.attempts if attempt.cost)

    def _run_created(self, event: Event) -> None:
        self.created, self.digest = event, event["digest"]

    def _run_resumed(self, event: Event) -> None:
        self.status, self.digest = RunStatus.RUNNING, event["digest"]
        self.resumed += 1

    def _run_governed(self, event: Event) -> None:
        self.policy = {"source": event["source"], "digest": event["digest"]}

    def _run_interrupted(self, _: Event) -> None:
        self.status = RunStatus.INTERRUPTED

    def _run_waiting(self, _: Event) -> None:
        self.status = RunStatus.WAITING

    def _run_cancelled(self, _: Event) -> None:
        self.cancelled_after = len(self.told)

    def _run_ended(self, event: Event) -> None:
        self.status, self.finished_at, self.error = RunStatus(event["status"]), event["at"], event["error"]
        self.outputs = _ref(event["outputs"])

    def _attempt_started(self, event: Event) -> None:
        step = self.step(event["path"])
        step.kind, step.waits_for = event["kind"], None
        step.attempts.append(AttemptRecord(event["attempt"], event["at"]))

    def _attempt_spent(self, event: Event) -> None:
        """Counts for an attempt that says nothing more, since its process was killed."""
        self.step(event["path"]).attempts[-1].cost = event["cost"]

    def _attempt_failed(self, event: Event) -> None:
        self._finish_attempt(event)

    def _step_waits(self, event: Event) -> None:
        self.step(event["path"]).waits_for = event["for"]

    def _step_ended(self, event: Event) -> None:
        step = self.step(event["path"])
        step.end, step.error, step.output = event["end"], event["error"], _ref(event["output"])
        step.kind, step.waits_for, step.artifacts = event["kind"], None, event.get("artifacts", {})
        step.reused_from = event.get("reused_from")
        self.told.append(step.path)
        if step.attempts and step.attempts[-1].finished_at is None:
            self._finish_attempt(event)

    def _step_settled(self, event: Event) -> None:
        """Of a step that nobody had to carry out: it was skipped, blocked or cancelled, or holds others."""
        step = self.step(event["path"])
        step.end, step.error, step.kind = event["end"], event["error"], event["kind"]

    def _approval_given(self, event: Event) -> None:
        given = {name: event[name] for name in ("path", "at", "approved", "by", "comment")}
        self.approvals.append({**given, "rule": event["rule"]} if "rule" in event else given)

    def _policy_decided(self, event: Event) -> None:
        """``asked`` has since when each rule wants an answer."""
        note = {name: event[name] for name in ("effect", "rule", "reasons", "digest", "at")}
        if event["kind"] == FactKind.STEP:
            self.step(event["path"]).policy = note
        if event["effect"] == Effect.REQUIRE_APPROVAL:
            self.asked.setdefault((event["question"], event["rule"]), event["at"])

    def _finish_attempt(self, event: Event) -> None:
        attempt = self.step(event["path"]).attempts[-1]
        attempt.finished_at, attempt.error, attempt.cost = event["at"], event["error"], event.get("cost")
        attempt.prompts, attempt.prompt_sha256 = event.get("prompts") or {}, event.get("prompt_sha256")
        attempt.agent, attempt.models = event.get("agent"), tuple(event.get("models") or ())

    def as_state(self) -> dict[str, Any]:
        """What `state.json` says."""
        return {
            "version": 1,
            "execution_id": self.execution_id,
            "workflow": self.created["workflow"],
            "digest": self.digest,
            "source": self.created["source"],
            "status": self.status.value,
            "started_at": self.created["at"],
            "finished_at": self.finished_at,
            "error": self.error,
            "policy": self.policy,
            "cost": self.cost(),
            "steps": {path: step_as_json(step) for path, step in self.steps.items()},
        }


def step_as_json(step: StepRecord) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "end": step.end,
        "attempts": [asdict(attempt) for attempt in step.attempts],
        "output": asdict(step.output) if step.output else None,
        "error": step.error,
        "waits_for": step.waits_for,
        "reused_from": step.reused_from,
        "artifacts": step.artifacts,
        "policy": step.policy,
    }


def _ref(content: Mapping[str, Any] | None) -> Ref | None:
    return Ref(content["sha256"], content["size"]) if content else None
