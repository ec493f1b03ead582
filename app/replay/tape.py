"""Tools that note what goes through them, while it does."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from app.agents.base import AgentOutput, AgentRequest, AgentTools
from app.agents.tools.errors import ToolFailed
from app.agents.tools.models import Toolbox, ToolDescription, ToolResult
from app.effects.tool import Effects, Fire, NoEffects, Performed
from app.errors import OrchestratorError
from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Answer, Chat, Message
from app.llm.search import SearchResult, WebSearch
from app.replay.models import (
    CallKind,
    Equipment,
    RecordedCall,
    RecordedError,
    RecordedMessage,
    RecordedRequest,
    RecordedRun,
    as_recorded,
    digest_of,
)

T = TypeVar("T")
Mask = Callable[[str], str]
_SECOND_MS = 1000


@dataclass(slots=True)
class Tape:
    """What one run was given, asked and gave, up to ``room`` characters; ``mask`` takes secrets out of what is kept."""

    room: int
    mask: Mask
    calls: list[RecordedCall] = field(default_factory=list)
    request: RecordedRequest | None = None
    equipment: Equipment = field(default_factory=Equipment)
    output: dict[str, Any] | None = None
    agent_version: str | None = None
    is_cut: bool = False

    def around(self, tools: AgentTools) -> AgentTools:
        """The same tools, recorded. They belong outside of whatever answers, counts or retries a call."""
        self.equipment = Equipment(
            has_search=tools.search.available, max_sources=tools.max_sources, tools=tuple(sorted(tools.toolbox.names))
        )
        return replace(
            tools,
            chat=RecordedChat(tools.chat, self),
            search=RecordedSearch(tools.search, self),
            toolbox=RecordedToolbox(tools.toolbox, self),
            effects=tools.effects if isinstance(tools.effects, NoEffects) else RecordedEffects(tools.effects, self),
        )

    def begin(self, request: AgentRequest, *, version: str | None = None) -> None:
        self.agent_version = version
        inputs = dict(request.inputs) if self._has_room_for(request.inputs) else {}
        self.request = RecordedRequest(
            text=masked_data(request.text, self.mask),
            session_id=request.session_id,
            inputs=masked_data(inputs, self.mask),
            feedback=masked_data(request.feedback, self.mask),
            history=self.masked(request.history),
        )

    def end(self, output: AgentOutput) -> None:
        given = output_as_json(output)
        self.output = masked_data(given, self.mask) if self._has_room_for(given) else None

    def masked(self, messages: Sequence[Message]) -> tuple[RecordedMessage, ...]:
        return as_recorded([Message(one.role, masked_data(str(one.content), self.mask)) for one in messages])

    def note(self, call: RecordedCall) -> None:
        """Keep it if there is room. From the first that there is none for nothing is kept: no gap goes unseen."""
        known = {"asked": masked_data(call.asked, self.mask), "response": masked_data(call.response, self.mask)}
        call = call.model_copy(update=known)
        said = [message.content for message in call.messages]
        if self._has_room_for([said, call.asked, call.response]):
            self.calls.append(call)

    async def noted(self, call: RecordedCall, work: Awaitable[T], response_of: Callable[[T], Mapping[str, Any]]) -> T:
        """Await the call and note how it ended. One that is cancelled has no end and is not noted."""
        began = time.monotonic()
        try:
            answer = await work
        except OrchestratorError as error:
            self.note(_ended(call, began, error=self._failure(error)))
            raise
        self.note(_ended(call, began, **response_of(answer)))
        return answer

    def _has_room_for(self, data: Any) -> bool:
        self.room -= length_of(data)
        self.is_cut = self.is_cut or self.room < 0
        return not self.is_cut

    def _failure(self, error: OrchestratorError) -> RecordedError:
        said = self.mask(error.output) if isinstance(error, ToolFailed) else None
        return RecordedError(type=error.code, message=self.mask(error.message), kind=type(error).__name__, output=said)


class RecordedChat(ChatFacade):
    def __init__(self, chat: Chat, tape: Tape) -> None:
        super().__init__(chat)
        self._tape = tape

    async def _ask(self, question: Question[A]) -> A:
        call = model_call(question, self._tape.masked(question.messages))
        return await self._tape.noted(call, question.put_to(self._chat), _given)


class RecordedSearch:
    def __init__(self, search: WebSearch, tape: Tape) -> None:
        self._search = search
        self._tape = tape

    @property
    def available(self) -> bool:
        return self._search.available

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        work = self._search.search(query, max_results=max_results)
        if not self.available:
            return await work
        call = search_call(query, max_results=max_results)
        return await self._tape.noted(call, work, lambda found: {"response": [asdict(one) for one in found]})

    async def aclose(self) -> None:
        """Does nothing: the search outlives the run that is recorded."""


class RecordedToolbox:
    def __init__(self, toolbox: Toolbox, tape: Tape) -> None:
        self._toolbox = toolbox
        self._tape = tape

    @property
    def names(self) -> Set[str]:
        return self._toolbox.names

    async def describe(self) -> Sequence[ToolDescription]:
        described = await self._toolbox.describe()
        if described:
            self._tape.note(describe_call([asdict(one) for one in described]))
        return described

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        call = tool_call(name, arguments, step=step)
        return await self._tape.noted(
            call, self._toolbox.call(name, arguments, step=step), lambda result: {"response": asdict(result)}
        )


class RecordedEffects:
    def __init__(self, effects: Effects, tape: Tape) -> None:
        self._effects = effects
        self._tape = tape

    async def perform(self, name: str, arguments: Any, fire: Fire, **options: Any) -> Performed:
        call = effect_call(name, arguments, step=options.get("step"))
        work = self._effects.perform(name, arguments, fire, **options)
        return await self._tape.noted(call, work, lambda done: {"response": asdict(done)})


def model_call(question: Question[A], messages: tuple[RecordedMessage, ...]) -> RecordedCall:
    """``messages`` are the question's own, as they are recorded."""
    name, schema = str(question.role), question.schema
    if schema is None:
        limit = {"max_tokens": question.max_tokens}
        return RecordedCall(kind=CallKind.COMPLETE, name=name, asked=limit, messages=messages)
    return RecordedCall(kind=CallKind.STRUCTURED, name=name, asked={"schema": schema.__name__}, messages=messages)


def search_call(query: str, *, max_results: int) -> RecordedCall:
    asked = {"query": query, "max_results": max_results}
    return RecordedCall(kind=CallKind.SEARCH, name="web_search", asked=asked)


def tool_call(name: str, arguments: Mapping[str, Any], *, step: str | None) -> RecordedCall:
    asked = {"arguments": dict(arguments), "step": step}
    return RecordedCall(kind=CallKind.TOOL, name=name, asked=asked)


DESCRIBE = "describe"


def describe_call(described: Sequence[Mapping[str, Any]] = ()) -> RecordedCall:
    # No tool can have an empty name, so that no tool's call is taken for this one.
    return RecordedCall(kind=CallKind.TOOL, name="", asked={DESCRIBE: True}, response=list(described) or None)


def effect_call(name: str, arguments: Any, *, step: str | None) -> RecordedCall:
    asked = {"step": step} if step is not None else {"arguments_sha256": digest_of(arguments)}
    return RecordedCall(kind=CallKind.EFFECT, name=name, asked=asked)


def routed(agent_name: str, confidence: float) -> AgentOutput:
    """A decision of the router as an output, to compare one with another."""
    return AgentOutput(agent_name, f"{agent_name} ({confidence:.2f})")


def output_as_json(output: AgentOutput) -> dict[str, Any]:
    """Without what is empty: an answer without files is the same for a version that knew no files."""
    return {name: value for name, value in asdict(output).items() if value not in (None, (), [], {})}


def masked_data(value: Any, mask: Mask) -> Any:
    """JSON data without secrets in any of its texts; half a character, which cannot be stored, becomes a `?`."""
    match value:
        case str():
            return mask(value).encode(errors="replace").decode()
        case Mapping():
            return {masked_data(name, mask): masked_data(one, mask) for name, one in value.items()}
        case list() | tuple():
            return [masked_data(one, mask) for one in value]
        case _:
            return value


def recorded_run(tape: Tape, **known: Any) -> RecordedRun:
    return RecordedRun(
        request=tape.request,
        equipment=tape.equipment,
        calls=tuple(tape.calls),
        output=tape.output,
        agent_version=tape.agent_version,
        is_cut=tape.is_cut,
        **known,
    )


def _given(answer: Answer) -> dict[str, Any]:
    tokens = {name: count for name, count in asdict(answer.usage).items() if count}
    return {"response": answer.as_json(), "model": answer.model, "tokens": tokens}


def _ended(call: RecordedCall, began: float, **how: Any) -> RecordedCall:
    duration = round((time.monotonic() - began) * _SECOND_MS, 1)
    return call.model_copy(update={**how, "duration_ms": duration})


def length_of(value: Any) -> int:
    """Of JSON data, in characters: near enough to bytes for a limit, and far cheaper than to serialise it."""
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(length_of(name) + length_of(one) for name, one in value.items())
        case list() | tuple():
            return sum(map(length_of, value))
        case _:
            return 1
