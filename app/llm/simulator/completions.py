"""The answer to one conversation, and its two shapes on the wire: a body, or a stream of chunks."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.llm.simulator.coder import program
from app.llm.simulator.conversation import Conversation, Kind
from app.llm.simulator.example import example_of
from app.llm.simulator.faults import Behaviour, Fault
from app.llm.simulator.router import choose_agent
from app.llm.simulator.writer import article

_CHARACTERS_PER_TOKEN = 4  # OpenAI's own rule of thumb for English
_TOKENS_PER_MESSAGE = 4
_CHUNK = 24
# Fixed, so that the same request has the same answer to the byte.
_CREATED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    content: str | None
    finish: str = "stop"
    refusal: str | None = None
    arguments: str | None = None


def reply_to(conversation: Conversation, fault: Fault) -> Reply:
    """What a model would say; `fault` may make it refuse, fall silent, break off or break its schema."""
    match fault.behaviour:
        case Behaviour.REFUSE:
            return Reply(None, refusal="I cannot help with that. (Simulated refusal.)")
        case Behaviour.EMPTY:
            return Reply("")
        case Behaviour.SCHEMA:
            return Reply(_off_schema(conversation))
    reply = _honest_reply(conversation)
    if fault.behaviour is Behaviour.LENGTH:
        return _cut(reply, _tokens(reply.content) // 2)
    return _cut(reply, conversation.max_tokens)


def usage_of(conversation: Conversation, reply: Reply) -> dict[str, int]:
    """Plausible, not exact: a token is about four characters."""
    prompt = _tokens(conversation.prompt) + _TOKENS_PER_MESSAGE
    completion = _tokens(reply.content or reply.refusal or reply.arguments)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def body(conversation: Conversation, reply: Reply) -> dict[str, Any]:
    return {
        **_envelope(conversation, "chat.completion"),
        "choices": [
            {"index": 0, "message": _message(conversation, reply), "finish_reason": reply.finish, "logprobs": None}
        ],
        "usage": usage_of(conversation, reply),
    }


def events(conversation: Conversation, reply: Reply) -> Iterator[str]:
    """Server-sent events: role, text in pieces, finish, usage when asked for, `[DONE]`."""
    for delta in _deltas(conversation, reply):
        yield _event(conversation, [{"index": 0, "delta": delta, "finish_reason": None}])
    yield _event(conversation, [{"index": 0, "delta": {}, "finish_reason": reply.finish}])
    if conversation.stream_usage:
        yield _event(conversation, [], usage=usage_of(conversation, reply))
    yield "data: [DONE]\n\n"


def _honest_reply(conversation: Conversation) -> Reply:
    match conversation.kind:
        case Kind.ROUTER:
            return Reply(json.dumps(asdict(choose_agent(conversation.system, conversation.task))))
        case Kind.STRUCTURED:
            return Reply(json.dumps(example_of(conversation.schema)))
        case Kind.TOOL:
            return Reply(None, finish="tool_calls", arguments=json.dumps(example_of(conversation.schema)))
        case Kind.CODER:
            return Reply(program(conversation.task))
        case _:
            return Reply(article(conversation.task, conversation.sources))


def _off_schema(conversation: Conversation) -> str:
    if conversation.schema:
        return '{"simulated": "not what the schema asks for"}'
    return "This simulated answer has no code block and cites a source that was never given [99]."


def _cut(reply: Reply, tokens: int | None) -> Reply:
    if tokens is None or reply.content is None or _tokens(reply.content) <= tokens:
        return reply
    return replace(reply, content=reply.content[: tokens * _CHARACTERS_PER_TOKEN], finish="length")


def _tokens(text: str | None) -> int:
    return -(-len(text or "") // _CHARACTERS_PER_TOKEN)


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
    if reply.arguments is not None:
        message["tool_calls"] = [_tool_call(conversation, reply.arguments)]
    return message


def _tool_call(conversation: Conversation, arguments: str) -> dict[str, Any]:
    return {
        "id": f"call_{conversation.digest[:24]}",
        "type": "function",
        "function": {"name": conversation.tool, "arguments": arguments},
    }


def _deltas(conversation: Conversation, reply: Reply) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if reply.content is None else ""}
    if reply.refusal is not None:
        yield {"refusal": reply.refusal}
    if reply.arguments is not None:
        yield {"tool_calls": [{"index": 0, **_tool_call(conversation, reply.arguments)}]}
    text = reply.content or ""
    for start in range(0, len(text), _CHUNK):
        yield {"content": text[start : start + _CHUNK]}


def _event(conversation: Conversation, choices: list[dict[str, Any]], *, usage: dict[str, int] | None = None) -> str:
    chunk = {**_envelope(conversation, "chat.completion.chunk"), "choices": choices, "usage": usage}
    return f"data: {json.dumps(chunk)}\n\n"
