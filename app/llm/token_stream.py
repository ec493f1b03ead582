"""One answer in pieces: the provider streams, each piece of text is handed over, and the whole is as if given at once.

Providers that speak OpenAI's protocol are read here, line by line: the SDK and LangChain build several objects for each
piece, which costs thirty times as much as reading it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic_core import from_json

from app.llm.errors import LlmTimeout, LlmUnavailable
from app.llm.messages import OnToken

DATA = b"data:"
DONE = b"[DONE]"
LONGEST_LINE = 1024 * 1024
END_PATIENCE = 0.5
Prompt = Sequence[tuple[str, str]]


async def stream_answer(
    client: BaseChatModel, messages: Prompt, on_token: OnToken, *, model: str, **options: Any
) -> AIMessage:
    """The whole answer. Raises what the client raises, and `LlmUnavailable` for one that broke off.

    ``model`` is how errors name it; ``options`` go into the request.
    """
    # An answer begins: after a model that failed half-way this may be the second one of a call.
    on_token("")
    if isinstance(client, BaseChatOpenAI):
        payload = _payload(client, messages, options)
        return await _stream_openai(client.async_client, payload, on_token, model)
    return await _stream_any(client.astream(list(messages), **options), on_token, model)


async def _stream_any(answer: AsyncIterator[AIMessageChunk], on_token: OnToken, model: str) -> AIMessageChunk:
    whole: AIMessageChunk | None = None
    async for piece in answer:
        if text := str(piece.text):
            on_token(text)
        whole = piece if whole is None else whole + piece
    if whole is None or not {"finish_reason", "stop_reason"} & whole.response_metadata.keys():
        raise _broken_off(model)
    return whole


@dataclass(slots=True)
class _Pieces:
    """What has come of one answer."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    finish: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None

    def take(self, chunk: dict[str, Any]) -> str:
        """The text of this chunk."""
        self.model = chunk.get("model") or self.model
        self.usage = chunk.get("usage") or self.usage
        if not chunk.get("choices"):
            return ""
        choice = chunk["choices"][0]
        self.finish = choice.get("finish_reason") or self.finish
        delta = choice.get("delta") or {}
        if refusal := delta.get("refusal"):
            self.refusal.append(refusal)
        text: str = delta.get("content") or ""
        if text:
            self.text.append(text)
        return text

    def whole(self) -> AIMessage:
        return AIMessage(
            "".join(self.text),
            response_metadata={"finish_reason": self.finish, "model_name": self.model},
            additional_kwargs={"refusal": "".join(self.refusal)} if self.refusal else {},
            usage_metadata=_usage(self.usage) if self.usage else None,
        )


def _payload(client: BaseChatOpenAI, messages: Prompt, options: Mapping[str, Any]) -> dict[str, Any]:
    # The one place that knows how this client words a request for its provider; integrations override it.
    return client._get_request_payload(  # noqa: SLF001
        list(messages), stream=True, stream_options={"include_usage": True}, **options
    )


def _asking(calls: Any, *, messages: Sequence[Any], **payload: Any) -> Any:
    # As a part of the body that the SDK passes on as it is: it would look at each message for fields to rename.
    return calls.with_streaming_response.create(messages=(), extra_body={"messages": messages}, **payload)


async def _stream_openai(calls: Any, payload: dict[str, Any], on_token: OnToken, model: str) -> AIMessage:
    pieces = _Pieces()
    try:
        async with _asking(calls, **payload) as response:
            received = response.iter_bytes()
            async for data in _events(received, model):
                if text := pieces.take(_chunk(data, model)):
                    on_token(text)
            await _read_on(received)
    except httpx2.TimeoutException as error:
        raise LlmTimeout("the model did not answer in time (LLM_TIMEOUT_SEC)", model=model) from error
    except httpx2.TransportError as error:
        raise _broken_off(model) from error
    if pieces.finish is None:
        raise _broken_off(model)
    return pieces.whole()


async def _events(received: AsyncIterator[bytes], model: str) -> AsyncIterator[bytes]:
    """The data of each server-sent event up to the final one.

    Lines end with a line feed only: what else `str.splitlines` takes for an end may stand in a text.
    """
    rest = b""
    async for part in received:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            data = line[len(DATA) :].strip()
            if data == DONE:
                return
            if line.startswith(DATA):
                yield data
        if len(rest) > LONGEST_LINE:
            raise LlmUnavailable("the model provider sent an answer that cannot be read", model=model)


async def _read_on(received: AsyncIterator[bytes]) -> None:
    # A connection whose answer was not read to its last byte is closed, and the next call needs a new one.
    with contextlib.suppress(TimeoutError, httpx2.TransportError):
        async with asyncio.timeout(END_PATIENCE):
            async for _ in received:
                pass


def _chunk(data: bytes, model: str) -> dict[str, Any]:
    chunk = from_json(data)
    if not isinstance(chunk, dict) or chunk.get("error"):
        raise LlmUnavailable("the model provider failed in the middle of an answer", model=model)
    return chunk


def _usage(reported: dict[str, Any]) -> UsageMetadata:
    prompt, completion = reported.get("prompt_tokens") or 0, reported.get("completion_tokens") or 0
    cached = (reported.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (reported.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return UsageMetadata(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=reported.get("total_tokens") or prompt + completion,
        input_token_details=InputTokenDetails(cache_read=cached),
        output_token_details=OutputTokenDetails(reasoning=reasoning),
    )


def _broken_off(model: str) -> LlmUnavailable:
    return LlmUnavailable("the model's answer broke off in the middle", model=model)
