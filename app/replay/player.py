"""Tools that answer from a recording instead of asking anybody."""

import difflib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from app import errors
from app.agents.base import AgentTools
from app.agents.tools import errors as tool_errors
from app.agents.tools.models import SideEffect, ToolDescription, ToolResult
from app.effects import errors as effect_errors
from app.effects.tool import Fire, Performed
from app.errors import ExecutionError
from app.llm import errors as llm_errors
from app.llm.facade import StructuredQuestion, TextQuestion
from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.search import SearchResult
from app.llm.usage import TokenUsage
from app.replay.artifacts import NotKept
from app.replay.models import CallKind, RecordedCall, RecordedError, RecordedMessage, RecordedRun, as_recorded
from app.replay.tape import describe_call, effect_call, model_call, search_call, tool_call

T = TypeVar("T")
LINES_OF_CONTEXT = 2
LONGEST_DIFF = 60
_MODULES = (llm_errors, tool_errors, effect_errors, errors)


class Diverged(ExecutionError):
    """The agent asked for what was not recorded, and nobody may be asked now."""

    code = "REPLAY_DIVERGED"
    title = "Replay diverged"


class RecordedFailure(ExecutionError):
    """How a recorded call ended, when no error of the product has its code any more; `details` has that."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """A call that is not in the recording. ``diff`` compares it with the next recorded one of its kind, if any."""

    kind: CallKind
    name: str
    diff: tuple[str, ...]


class Player:
    """Answers each call with what an equal one was answered when it was recorded, each recorded answer once.

    ``runs`` begins with the run that is played; those behind it fill in what a run after a crash did not have to ask
    again. Calls for ``live_roles``, and with ``fills_gaps`` those that were not recorded, go to the models and the
    search of ``live``. Tools and effects never do: a replay changes nothing outside.
    """

    def __init__(
        self,
        runs: Sequence[RecordedRun],
        *,
        live: AgentTools | None = None,
        live_roles: Collection[str] = (),
        fills_gaps: bool = True,
    ) -> None:
        self.replayed = 0
        self.asked_live = 0
        self.divergences: list[Divergence] = []
        self._runs = runs
        self._live = live
        self._live_roles = live_roles
        self._fills_gaps = fills_gaps
        self._answers: dict[str, deque[RecordedCall]] = defaultdict(deque)
        for call in _playable(runs):
            self._answers[call.digest].append(call)

    @property
    def unused(self) -> int:
        """Recorded calls that nobody made again."""
        return sum(map(len, self._answers.values()))

    @property
    def tools(self) -> AgentTools:
        equipment = self._runs[0].equipment
        return AgentTools(
            PlayedChat(self),
            PlayedSearch(self, available=equipment.has_search),
            equipment.max_sources,
            effects=PlayedEffects(self),
            artifacts=NotKept(),
            toolbox=PlayedToolbox(self, frozenset(equipment.tools)),
        )

    @property
    def may_ask(self) -> AgentTools | None:
        return self._live

    def model_name(self, role: str) -> str:
        for call in _playable(self._runs):
            if call.name == role and call.model:
                return call.model
        return "recorded"

    async def answer(
        self, call: RecordedCall, revive: Callable[[RecordedCall], T], ask: Callable[[], Awaitable[T]] | None = None
    ) -> T:
        """Raises `Diverged`, or what the recorded call ended in."""
        if ask is not None and call.name in self._live_roles:
            self.asked_live += 1
            return await ask()
        if waiting := self._answers.get(call.digest):
            self.replayed += 1
            recorded = waiting.popleft()
            if recorded.error is not None:
                raise failure_of(recorded.error)
            return revive(recorded)
        self.divergences.append(Divergence(call.kind, call.name, self._diff(call)))
        if ask is None or not self._fills_gaps:
            raise Diverged(f"the recording has no {call.kind} call like the one for {call.name or 'its tools'}")
        self.asked_live += 1
        return await ask()

    def _diff(self, call: RecordedCall) -> tuple[str, ...]:
        alike = (one for queue in self._answers.values() for one in queue)
        nearest = next((one for one in alike if (one.kind, one.name) == (call.kind, call.name)), None)
        if nearest is None:
            return ()
        lines = difflib.unified_diff(
            _lines(nearest), _lines(call), "recorded", "asked now", n=LINES_OF_CONTEXT, lineterm=""
        )
        return tuple(lines)[:LONGEST_DIFF]


class PlayedChat:
    def __init__(self, player: Player) -> None:
        self._player = player
        self._live = player.may_ask.chat if player.may_ask else None

    def model_name(self, role: Asked) -> str:
        return self._player.model_name(str(role))

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        live = self._live
        answer = await self._player.answer(
            model_call(TextQuestion(role=role, messages=messages, max_tokens=max_tokens), as_recorded(messages)),
            lambda call: Completion(str(call.response), call.model or "recorded", _usage(call)),
            (lambda: live.complete(role, messages, max_tokens=max_tokens)) if live else None,
        )
        if on_token is not None:
            on_token(answer.text)
        return answer

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        live = self._live
        return await self._player.answer(
            model_call(StructuredQuestion(role=role, messages=messages, schema=schema), as_recorded(messages)),
            lambda call: Structured(_validated(call, schema), call.model or "recorded", _usage(call)),
            (lambda: live.structured(role, messages, schema)) if live else None,
        )


class PlayedSearch:
    def __init__(self, player: Player, *, available: bool) -> None:
        self._player = player
        self._live = player.may_ask.search if player.may_ask and player.may_ask.search.available else None
        self.available = available

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        live = self._live
        return await self._player.answer(
            search_call(query, max_results=max_results),
            lambda call: [SearchResult(**found) for found in call.response or ()],
            (lambda: live.search(query, max_results=max_results)) if live else None,
        )

    async def aclose(self) -> None:
        """Nothing is open."""


class PlayedToolbox:
    def __init__(self, player: Player, names: Set[str]) -> None:
        self._player = player
        self.names = names

    async def describe(self) -> Sequence[ToolDescription]:
        if not self.names:
            return ()
        return await self._player.answer(describe_call(), lambda call: [_described(one) for one in call.response or ()])

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        return await self._player.answer(
            tool_call(name, arguments, step=step), lambda call: ToolResult(**call.response)
        )


class PlayedEffects:
    """Effects that happened are told of, and none is fired."""

    def __init__(self, player: Player) -> None:
        self._player = player

    async def perform(self, name: str, arguments: Any, fire: Fire, **options: Any) -> Performed:  # noqa: ARG002
        return await self._player.answer(
            effect_call(name, arguments, step=options.get("step")),
            lambda call: Performed(**{**call.response, "is_replay": True}),
        )


def failure_of(error: RecordedError) -> ExecutionError:
    """The error as an agent would have met it."""
    alike: list[type[ExecutionError]] = [
        kind for module in _MODULES for kind in vars(module).values() if _has_code(kind, error.type)
    ]
    if not alike:
        return RecordedFailure(error.message, type=error.type)
    # Of one code some are worth another try and some are not.
    known = next((kind for kind in alike if kind.__name__ == error.kind), alike[0])
    if issubclass(known, tool_errors.ToolFailed):
        return known(error.message, output=error.output or "")
    return known(error.message)


def _has_code(kind: Any, code: str) -> bool:
    return isinstance(kind, type) and issubclass(kind, ExecutionError) and kind.code == code


def _playable(runs: Sequence[RecordedRun]) -> list[RecordedCall]:
    first, *others = runs
    return [*first.calls, *(call for run in others for call in run.calls if call.error is None)]


def _validated(call: RecordedCall, schema: type[M]) -> M:
    try:
        return schema.model_validate(call.response)
    except ValidationError as error:
        raise Diverged(f"what was recorded has no longer the shape of {schema.__name__}") from error


def _usage(call: RecordedCall) -> TokenUsage:
    return TokenUsage(**{"prompt": 0, "completion": 0, "total": 0, **call.tokens})


def _described(one: Mapping[str, Any]) -> ToolDescription:
    return ToolDescription(**{**one, "side_effect": SideEffect(one["side_effect"])})


def _lines(call: RecordedCall) -> list[str]:
    asked = [f"{name}: {value}" for name, value in sorted(call.asked.items()) if value is not None]
    return [*asked, *(line for message in call.messages for line in _said(message))]


def _said(message: RecordedMessage) -> list[str]:
    return [f"[{message.role}]", *message.content.splitlines()]
