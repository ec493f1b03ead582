"""A server of Anthropic's Messages API that answers what it is told to, worded by the SDK's own types."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anthropic.types import (
    Message,
    MessageDeltaUsage,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    StopReason,
    TextBlock,
    TextDelta,
    ToolUseBlock,
    Usage,
)
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.raw_message_delta_event import Delta
from anthropic.types.shared.error_type import ErrorType
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = Usage(input_tokens=10, output_tokens=7, cache_read_input_tokens=90, cache_creation_input_tokens=5)
PIECE = 4


@dataclass(frozen=True)
class Says:
    """One text, or the arguments of the tool that the request forces. ``breaks_after`` ends a stream early."""

    text: str = ""
    arguments: Mapping[str, Any] | None = None
    stop_reason: StopReason = "end_turn"
    usage: Usage = field(default_factory=lambda: USAGE)
    breaks_after: int | None = None
    error: ErrorType | None = None


@dataclass(frozen=True)
class Fails:
    status: int
    kind: str
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class AnthropicServer:
    """Gives the same answer to every call. ``requests`` are the bodies, ``headers`` those of the last call."""

    answer: Says | Fails
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def application(self) -> Starlette:
        return Starlette(routes=[Route("/v1/messages", self._create, methods=["POST"])])

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        unknown = body.keys() - MessageCreateParamsNonStreaming.__annotations__.keys() - {"stream"}
        assert not unknown, f"the Messages API knows no {unknown}"
        self.requests.append(body)
        self.headers = request.headers
        if isinstance(self.answer, Fails):
            return JSONResponse(
                {"type": "error", "error": {"type": self.answer.kind, "message": self.answer.message}},
                self.answer.status,
                headers=dict(self.answer.headers),
            )
        if body.get("stream"):
            return StreamingResponse(_events(self.answer, body), media_type="text/event-stream")
        return Response(_message(self.answer, body).model_dump_json(), media_type="application/json")


def _message(answer: Says, body: Mapping[str, Any]) -> Message:
    content: list[TextBlock | ToolUseBlock] = [TextBlock(type="text", text=answer.text)] if answer.text else []
    stop_reason = answer.stop_reason
    if answer.arguments is not None:
        name = body["tool_choice"]["name"]
        content.append(ToolUseBlock(type="tool_use", id="toolu_1", name=name, input=dict(answer.arguments)))
        stop_reason = "tool_use"
    return Message(
        id="msg_1",
        type="message",
        role="assistant",
        model=body["model"],
        content=content,
        stop_reason=stop_reason,
        usage=answer.usage,
    )


def _events(answer: Says, body: Mapping[str, Any]) -> Iterator[str]:
    for number, event in enumerate(_honest_events(answer, body)):
        if number == answer.breaks_after:
            if answer.error is not None:
                yield _sse("error", {"type": "error", "error": {"type": answer.error, "message": "no"}})
            return
        yield _sse(event.type, event.model_dump(mode="json"))


def _honest_events(answer: Says, body: Mapping[str, Any]) -> Iterator[Any]:
    begun = _message(Says(usage=answer.usage), body).model_copy(update={"stop_reason": None})
    yield RawMessageStartEvent(type="message_start", message=begun)
    yield RawContentBlockStartEvent(type="content_block_start", index=0, content_block=TextBlock(type="text", text=""))
    for at in range(0, len(answer.text), PIECE):
        piece = TextDelta(type="text_delta", text=answer.text[at : at + PIECE])
        yield RawContentBlockDeltaEvent(type="content_block_delta", index=0, delta=piece)
    yield RawContentBlockStopEvent(type="content_block_stop", index=0)
    usage = MessageDeltaUsage(**answer.usage.model_dump(include=set(MessageDeltaUsage.model_fields)))
    delta = Delta(stop_reason=answer.stop_reason)
    yield RawMessageDeltaEvent(type="message_delta", delta=delta, usage=usage)
    yield RawMessageStopEvent(type="message_stop")


def _sse(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
