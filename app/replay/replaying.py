"""Runs the agents of a task again on its recordings, in this process, and says what came out differently."""

import difflib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.agents.base import AgentOutput, AgentRequest, AgentTools
from app.agents.contracts import check_inputs, check_output
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.errors import Invalid, NotFound, OrchestratorError
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.models import EVALUATION, EVALUATOR_ROLE, subject_of
from app.llm.messages import Chat, Message
from app.llm.search import WebSearch
from app.llm.usage import ModelRole
from app.replay.models import EVALUATED, RecordedError, RecordedRequest, RecordedRun, Recording
from app.replay.player import Divergence, Player
from app.replay.tape import output_as_json, routed
from app.setting_evaluation import EvaluationPolicy

ROUTER, EXECUTOR = "router", "executor"
REPLAYED_ROLES = (ROUTER, EXECUTOR)
LINES_OF_CONTEXT = 3
_SECOND_MS = 1000
# What is done again with the tools it is given, as what is compared.
Work = Callable[[AgentTools], Awaitable[Any]]


class NothingRecorded(NotFound):
    code = "NOT_RECORDED"
    title = "Nothing was recorded"


@dataclass(frozen=True, slots=True)
class Live:
    """Whom a replay may ask: the models of ``roles`` always, the rest, if it may, where the recording has no answer."""

    chat: Chat
    search: WebSearch
    new_meter: Callable[[], Meter]
    roles: frozenset[ModelRole] = frozenset()
    answers_the_rest: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different this time; ``agent`` does the task instead of the one that did."""

    agent: str | None = None
    live: Live | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, recorded or now; durations in milliseconds, money in US dollars."""

    output: dict[str, Any] | None
    error: RecordedError | None
    usd: float
    tokens: int
    duration_ms: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the executor's output, as it was recorded and now; None when there was no verdict."""

    then: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """One run, then and now. ``differences`` are unified diffs by member of the output; empty when it is the same.

    Only the evaluator's has a ``score``.
    """

    agent_role: str
    agent_name: str
    versions: tuple[str | None, str | None]
    then: Ending
    now: Ending
    replayed_calls: int
    live_calls: int
    unused_calls: int
    divergences: tuple[Divergence, ...]
    score: Scores | None = None
    differences: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_same(self) -> bool:
        return not self.differences

    @property
    def has_diverged(self) -> bool:
        return bool(self.divergences)


class Replay:
    """Of one task, from the recordings of its attempts, oldest first."""

    def __init__(
        self, recordings: Sequence[Recording], registry: Registry, peer: PeerAgent, evaluator: Evaluator
    ) -> None:
        self._runs = [run for recording in recordings for run in recording.runs]
        self._registry = registry
        self._peer = peer
        self._evaluator = evaluator

    async def run(self, change: Change = Change()) -> list[Replayed]:
        """The router's last run, if it was recorded, the executor's, and the verdict on what that gives now.

        Raises `NothingRecorded` or `Invalid`.
        """
        roles = [EXECUTOR] if change.agent else [role for role in REPLAYED_ROLES if self._last(role)]
        verdict = self._verdict_on_last()
        if not any(self._last(role) for role in roles) and (verdict is None or change.agent):
            raise NothingRecorded("no run of an agent was recorded as a whole: see RECORDING_MAX_BYTES")
        replayed = [await self._replay(role, change) for role in roles]
        executed = next((one for one in replayed if one.agent_role == EXECUTOR), None)
        return [*replayed, *await self._judge(verdict, executed, change)]

    def _last(self, role: str) -> RecordedRun | None:
        of_role = [run for run in self._runs if run.agent_role == role and run.request is not None]
        # The last that came to an end is what the task's result is from.
        finished = [run for run in of_role if run.output is not None]
        return next(reversed(finished or of_role), None)

    async def _replay(self, role: str, change: Change) -> Replayed:
        played = self._last(role)
        if played is None or played.request is None:
            raise NothingRecorded(f"no run of the {role} was recorded for this task")
        if played.is_cut:
            raise NothingRecorded(f"the recording of the {role} is cut: raise RECORDING_MAX_BYTES for such tasks")
        name, asked = change.agent or played.agent_name, _request(played.request)

        async def work(tools: AgentTools) -> Any:
            return output_as_json(await self._produce(role, name, asked, tools))

        return await self._play(played, name, self._version(role, name), change, work)

    async def _judge(self, verdict: RecordedRun | None, executed: Replayed | None, change: Change) -> list[Replayed]:
        """What the recorded evaluation makes of what came out now; empty when none was recorded or nothing came out."""
        result = _evaluated(verdict, executed)
        if verdict is None or verdict.request is None or result is None:
            return []
        # A policy has one member more than a request.
        wanted = EvaluationPolicy.model_validate(verdict.request.inputs[EVALUATION])
        subject = subject_of(verdict.request.text, result)

        async def work(tools: AgentTools) -> Any:
            return (await self._evaluator.evaluate(wanted, subject, tools.chat)).as_json()

        recorded = verdict.model_copy(update={"output": (verdict.output or {}).get("data")})
        replayed = await self._play(recorded, verdict.agent_name, None, change, work)
        return [replace(replayed, score=Scores(_score(replayed.then), _score(replayed.now)))]

    def _verdict_on_last(self) -> RecordedRun | None:
        """The evaluation of what the executor gave last, or of another step's output, unless it is cut."""
        executed = self._last(EXECUTOR)
        if executed is None:
            last = self._last(EVALUATOR_ROLE)
            return None if last is None or last.is_cut else last
        place = next(place for place, run in enumerate(self._runs) if run is executed)
        later = (run for run in self._runs[place + 1 :] if run.agent_role in (EXECUTOR, EVALUATOR_ROLE))
        following = next(later, None)
        is_usable = following is not None and following.agent_role == EVALUATOR_ROLE and not following.is_cut
        return following if is_usable else None

    async def _play(self, played: RecordedRun, name: str, version: str | None, change: Change, work: Work) -> Replayed:
        others = [run for run in self._runs if run is not played and run.agent_name == played.agent_name]
        meter = change.live.new_meter() if change.live else Meter()
        player = Player(
            [played, *others],
            live=meter.tools(change.live.chat, change.live.search) if change.live else None,
            live_roles=change.live.roles if change.live else (),
            fills_gaps=change.live is not None and change.live.answers_the_rest,
        )
        now = await _end_of(work, player, meter)
        then = Ending(
            _plain(played.output) if played.output else None,
            played.error,
            played.usd,
            played.tokens,
            played.duration_ms,
        )
        return Replayed(
            played.agent_role,
            name,
            (played.agent_version, version),
            then,
            now,
            player.replayed,
            player.asked_live,
            player.unused,
            tuple(player.divergences),
            differences=differences_of(then, now),
        )

    async def _produce(self, role: str, name: str, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        if role == ROUTER:
            found = await self._peer.consider(request, tools)
            return routed(found.agent_name, found.confidence)
        spec = self._registry.get_agent(name)
        check_inputs(spec, request.inputs)
        output = await self._registry.load(name).run(request, tools)
        check_output(spec, output)
        return output

    def _version(self, role: str, name: str) -> str | None:
        return None if role == ROUTER else self._registry.get_agent(name).version


async def _end_of(work: Work, player: Player, meter: Meter) -> Ending:
    began = time.monotonic()
    output, error = None, None
    try:
        output = _plain(await work(player.tools))
    except OrchestratorError as failure:
        if isinstance(failure, Invalid | NotFound):
            raise
        error = RecordedError(type=failure.details.get("type", failure.code), message=failure.message)
    duration = round((time.monotonic() - began) * _SECOND_MS, 1)
    return Ending(output, error, meter.usd, meter.usage.total, duration)


def _evaluated(verdict: RecordedRun | None, executed: Replayed | None) -> Mapping[str, Any] | None:
    """The result to be evaluated: as it was recorded, unless an agent has made another one now."""
    recorded: Mapping[str, Any] | None = verdict.request.inputs.get(EVALUATED) if verdict and verdict.request else None
    if executed is None or (recorded is not None and executed.is_same):
        return recorded
    now = executed.now.output
    if now is None or recorded is None:
        return now
    # In a workflow an output is the answer, and over it the members of its data.
    data = now.get("data")
    members = {name: value for name, value in now.items() if name != "data"}
    return {**now, "data": {**members, **data} if isinstance(data, dict) else members}


def _score(ending: Ending) -> float | None:
    return ending.output["score"] if ending.output else None


def differences_of(then: Ending, now: Ending) -> dict[str, tuple[str, ...]]:
    """By member of the output; `error` for how it failed."""
    before, after = {**(then.output or {}), **_failure(then)}, {**(now.output or {}), **_failure(now)}
    return {
        name: _diff(before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }


def _failure(ending: Ending) -> dict[str, Any]:
    return {"error": ending.error.type} if ending.error else {}


def _diff(before: Any, after: Any) -> tuple[str, ...]:
    lines = difflib.unified_diff(_lines(before), _lines(after), "recorded", "now", n=LINES_OF_CONTEXT, lineterm="")
    return tuple(lines)


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return (value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)).splitlines()


def _plain(output: Any) -> Any:
    """As it looks after a way through JSON, with lists for tuples."""
    return json.loads(json.dumps(output))


def _request(recorded: RecordedRequest) -> AgentRequest:
    return AgentRequest(
        "replay",
        recorded.session_id,
        "replay",
        recorded.text,
        feedback=recorded.feedback,
        inputs=recorded.inputs,
        history=tuple(Message(one.role, one.content) for one in recorded.history),
    )
