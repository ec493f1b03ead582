"""The answer to one conversation, and its two shapes on the wire: a body, or a stream of chunks."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.llm.simulator.coder import answer_of
from app.llm.simulator.conversation import CHARACTERS_PER_TOKEN, Conversation, Kind, tokens_in
from app.llm.simulator.example import example_of
from app.llm.simulator.faults import Behaviour, Fault
from app.llm.simulator.judge import rubric_verdict
from app.llm.simulator.memory import summary_of
from app.llm.simulator.researcher import research_plan, support_verdict
from app.llm.simulator.reviewer import review_of
from app.llm.simulator.router import choose_agent
from app.llm.simulator.text_worker import text_answer
from app.llm.simulator.tool_calls import Call, quoted
from app.llm.simulator.writer import article

_CHUNK = 24
# Fixed, so that the same request has the same answer to the byte.
_CREATED = 1_700_000_000
_OTHER_SHAPE = '{"simulated": "not what the schema asks for"}'
_OTHER_TEXT = "This simulated answer has no code block and cites a source that was never given [99]."


@dataclass(frozen=True, slots=True)
class Reply:
    content: str | None
    finish: str = "stop"
    refusal: str | None = None
    calls: tuple[Call, ...] = ()


def reply_to(conversation: Conversation, fault: Fault) -> Reply:
    """What a model would say; `fault` may make it refuse, fall silent, break off or break its schema."""
    match fault.behaviour:
        case Behaviour.REFUSE:
            return Reply(None, refusal="I cannot help with that. (Simulated refusal.)")
        case Behaviour.EMPTY:
            return Reply("")
        case Behaviour.SCHEMA:
            return _off_schema(conversation)
        case Behaviour.GARBLED:
            return _garbled(conversation)
    reply = _honest_reply(conversation)
    if fault.behaviour is Behaviour.LENGTH:
        return _half(reply, finish="length")
    return _cut(reply, conversation.max_tokens)


def usage_of(conversation: Conversation, reply: Reply) -> dict[str, Any]:
    """Plausible, not exact: a token is about four characters."""
    prompt = conversation.prompt_tokens
    called = "".join(call.name + call.arguments for call in reply.calls)
    completion = tokens_in(reply.content or reply.refusal or called)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def body(conversation: Conversation, reply: Reply) -> dict[str, Any]:
    return {
        **_envelope(conversation, "chat.completion"),
        "choices": [
            {"index": 0, "message": _message(conversation, reply), "finish_reason": reply.finish, "logprobs": None}
        ],
        "usage": usage_of(conversation, reply),
    }


def events(conversation: Conversation, reply: Reply, *, piece: int = 0) -> Iterator[str]:
    """Server-sent events: role, text in pieces, finish, usage when asked for, `[DONE]`."""
    for delta in _deltas(conversation, reply, piece or _CHUNK):
        yield _event(conversation, [{"index": 0, "delta": delta, "finish_reason": None}])
    yield _event(conversation, [{"index": 0, "delta": {}, "finish_reason": reply.finish}])
    if conversation.stream_usage:
        yield _event(conversation, [], usage=usage_of(conversation, reply))
    yield "data: [DONE]\n\n"


def _honest_reply(conversation: Conversation) -> Reply:
    if conversation.kind in _STRUCTURED:
        return Reply(json.dumps(_STRUCTURED[conversation.kind](conversation)))
    match conversation.kind:
        case Kind.TOOL:
            return _calling(conversation, conversation.calls)
        case _ if conversation.results:
            return Reply(quoted(conversation.results))
        case Kind.CODER:
            return Reply(answer_of(conversation))
        case _:
            return Reply(article(conversation.task, conversation.sources))


def _route(conversation: Conversation) -> dict[str, Any]:
    earlier = next((text for role, text in reversed(conversation.history) if role == "user"), "")
    return asdict(choose_agent(conversation.system, conversation.task, earlier=earlier))


_STRUCTURED: Mapping[Kind, Callable[[Conversation], Any]] = {
    Kind.ROUTER: _route,
    Kind.MEMORY: lambda conversation: summary_of(conversation.prompt),
    Kind.PLANNER: research_plan,
    Kind.CHECKER: support_verdict,
    Kind.TEXT: text_answer,
    Kind.REVIEWER: review_of,
    Kind.JUDGE: rubric_verdict,
    Kind.STRUCTURED: lambda conversation: example_of(conversation.schema),
}


def _calling(conversation: Conversation, calls: tuple[Call, ...]) -> Reply:
    # A provider says so only of tools that the model chose itself.
    return Reply(None, finish="stop" if conversation.is_tool_named else "tool_calls", calls=calls)


def _off_schema(conversation: Conversation) -> Reply:
    if conversation.calls:
        return _calling(conversation, tuple(replace(call, arguments=_OTHER_SHAPE) for call in conversation.calls))
    return Reply(_OTHER_SHAPE if conversation.schema else _OTHER_TEXT)


def _garbled(conversation: Conversation) -> Reply:
    """JSON that is none, and says that it is whole; prose has no such form, so it is only not what was asked for."""
    if conversation.calls or conversation.schema:
        return _half(_honest_reply(conversation))
    return Reply(_OTHER_TEXT)


def _half(reply: Reply, *, finish: str | None = None) -> Reply:
    calls = tuple(replace(call, arguments=call.arguments[: len(call.arguments) // 2]) for call in reply.calls)
    content = None if reply.content is None else reply.content[: len(reply.content) // 2]
    return replace(reply, content=content, calls=calls, finish=finish or reply.finish)


def _cut(reply: Reply, tokens: int | None) -> Reply:
    if tokens is None or reply.content is None or tokens_in(reply.content) <= tokens:
        return reply
    return replace(reply, content=reply.content[: tokens * CHARACTERS_PER_TOKEN], finish="length")


def _envelope(conversation: Conversation, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{conversation.digest[:24]}",
        "object": kind,
        "created": _CREATED,
        "model": conversation.model,
        "system_fingerprint": "simulator",
        "service_tier": "default",
    }


def _message(conversation: Conversation, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
    if reply.calls:
        message["tool_calls"] = [_tool_call(conversation, place, call) for place, call in enumerate(reply.calls)]
    return message


def _tool_call(conversation: Conversation, place: int, call: Call) -> dict[str, Any]:
    return {
        "id": f"call_{conversation.digest[:22]}{place:02}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _deltas(conversation: Conversation, reply: Reply, piece: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if reply.content is None else ""}
    if reply.refusal is not None:
        yield {"refusal": reply.refusal}
    for place, call in enumerate(reply.calls):
        yield from _call_deltas(conversation, place, call, piece)
    text = reply.content or ""
    for start in range(0, len(text), piece):
        yield {"content": text[start : start + piece]}


def _call_deltas(conversation: Conversation, place: int, call: Call, piece: int) -> Iterator[dict[str, Any]]:
    """Who is called, then the arguments in pieces."""
    yield {"tool_calls": [{"index": place, **_tool_call(conversation, place, replace(call, arguments=""))}]}
    for start in range(0, len(call.arguments), piece):
        part = call.arguments[start : start + piece]
        yield {"tool_calls": [{"index": place, "function": {"arguments": part}}]}


def _event(conversation: Conversation, choices: list[dict[str, Any]], *, usage: dict[str, Any] | None = None) -> str:
    chunk = {**_envelope(conversation, "chat.completion.chunk"), "choices": choices}
    if conversation.stream_usage:
        chunk["usage"] = usage
    return f"data: {json.dumps(chunk)}\n\n"
