"""The endpoints: OpenAI's chat completions, Tavily's search, and the simulator's own under `/_sim`."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from app.llm.simulator.completions import body, events, reply_to
from app.llm.simulator.conversation import Conversation, Kind, Malformed, read_conversation
from app.llm.simulator.corpus import Corpus, Hit, load_corpus
from app.llm.simulator.faults import (
    LONGEST_HANG,
    Behaviour,
    Fault,
    FaultBoard,
    UnknownFault,
    faults_in,
    parse_fault,
    without_directives,
)
from app.llm.simulator.waiting import WaitingRoom

_HEADERS = {"x-simulator": "1"}
_REMEMBERED_CALLS = 1000
_MOST_RESULTS = 20
# Minutes for a whole answer, and never silent for as long as a client waits for the next byte.
_DRIP_PAUSE = 0.1
_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-5-mini")
_CODES = {"quota": (429, "insufficient_quota"), "context": (400, "context_length_exceeded")}
_CODE_OF_STATUS = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


@dataclass(slots=True)
class CallLog:
    """Numbers and names of the calls and when they came (Unix time), never their texts."""

    total: int = 0
    by_role: Counter[str] = field(default_factory=Counter)
    recent: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_CALLS))

    def add(self, role: str, **facts: Any) -> None:
        self.total += 1
        self.by_role[role] += 1
        self.recent.append({"role": role, **facts})


class Simulator:
    """One simulated provider: its standing faults, its log and its corpus."""

    def __init__(self, *, docs: Path | None = None, latency: float = 0.0) -> None:
        self._board = FaultBoard(latency=latency)
        self._log = CallLog()
        self._docs = docs
        self._corpus: Corpus | None = None
        self.waiting = WaitingRoom()

    async def chat(self, request: Request) -> Response:
        came_at = time.time()
        try:
            conversation = read_conversation(await request.json())
        except (Malformed, UnknownFault, ValueError) as error:
            return failure(400, str(error), "invalid_request_error")
        fault = self._board.due(
            conversation.kind, conversation.faults, conversation.digest, is_corrected=conversation.corrections > 0
        )
        response = await self._faulty(request, fault) or self._answer(conversation, fault)
        self._log.add(
            conversation.kind,
            at=came_at,
            status=response.status_code,
            model=conversation.model,
            stream=conversation.stream,
            digest=conversation.digest[:16],
            corrections=conversation.corrections,
        )
        return response

    async def search(self, request: Request) -> Response:
        try:
            asked = await request.json()
            query, most = str(asked["query"]), int(asked.get("max_results") or 5)
            fault = self._board.due(Kind.SEARCH, faults_in(query), query)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"detail": {"error": str(error)}}, 400, _HEADERS)
        response = await self._faulty(request, fault) or self._found(without_directives(query), most, fault)
        self._log.add(Kind.SEARCH, status=response.status_code)
        return response

    async def order_fault(self, request: Request) -> Response:
        try:
            self._board.add(parse_fault(await request.json()))
        except (AttributeError, ValueError) as error:
            return failure(400, str(error), "invalid_request_error")
        return Response(status_code=204)

    async def clear(self, _request: Request) -> Response:
        self._board.clear()
        return Response(status_code=204)

    async def requests(self, _request: Request) -> Response:
        log = self._log
        return JSONResponse(
            {"total": log.total, "by_role": log.by_role, "waiting": len(self.waiting), "recent": list(log.recent)}
        )

    async def forget(self, _request: Request) -> Response:
        self._log = CallLog()
        return Response(status_code=204)

    async def _faulty(self, request: Request, fault: Fault) -> Response | None:
        seconds = LONGEST_HANG if fault.behaviour is Behaviour.HANG else fault.latency
        if seconds and not await self.waiting.wait(request, seconds):
            return failure(503, "the simulator stops", "server_error")
        if fault.behaviour is Behaviour.HANG:
            return failure(504, "simulated hang", "server_error")
        if fault.error is not None:
            return _ordered_failure(fault.error, fault.retry_after)
        if fault.behaviour is Behaviour.MALFORMED:
            return Response('{"id": "chatcmpl-simulated", "choi', media_type="application/json", headers=_HEADERS)
        return None

    def _answer(self, conversation: Conversation, fault: Fault) -> Response:
        reply = reply_to(conversation, fault)
        answer = body(conversation, reply)
        if fault.behaviour is Behaviour.NO_CHOICES:
            answer["choices"] = []
        if conversation.stream:
            return StreamingResponse(events(conversation, reply), media_type="text/event-stream", headers=_HEADERS)
        whole = JSONResponse(answer, headers=_HEADERS)
        return _dripping(whole) if fault.behaviour is Behaviour.DRIP else whole

    def _found(self, query: str, most: int, fault: Fault) -> Response:
        if self._corpus is None:
            self._corpus = load_corpus(self._docs)
        most = 0 if fault.behaviour is Behaviour.EMPTY else min(most, _MOST_RESULTS)
        return JSONResponse(_tavily(query, self._corpus.search(query, most=most)), headers=_HEADERS)


def build_application(simulator: Simulator) -> Starlette:
    return Starlette(
        routes=[
            Route("/health", _health),
            Route("/v1/models", _models),
            Route("/v1/chat/completions", simulator.chat, methods=["POST"]),
            Route("/search", simulator.search, methods=["POST"]),
            Route("/_sim/faults", simulator.order_fault, methods=["POST"]),
            Route("/_sim/faults", simulator.clear, methods=["DELETE"]),
            Route("/_sim/requests", simulator.requests),
            Route("/_sim/requests", simulator.forget, methods=["DELETE"]),
        ]
    )


def failure(status: int, message: str, code: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error in OpenAI's shape, which Tavily's clients read as well."""
    error = {"message": f"{message} (simulated)", "type": code, "code": code, "param": None}
    content = {"error": error, "detail": {"error": message}}
    return JSONResponse(content, status, {**_HEADERS, **(headers or {})})


def _ordered_failure(error: str, retry_after: float | None) -> Response:
    status, code = _CODES.get(error) or (int(error), _CODE_OF_STATUS.get(int(error), "server_error"))
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return failure(status, f"ordered error {status}", code, headers=headers)


def _dripping(whole: Response) -> Response:
    """The same, byte by byte: what a timeout per read never notices."""

    async def drops() -> AsyncIterator[bytes]:
        for byte in bytes(whole.body):
            yield bytes([byte])
            await asyncio.sleep(_DRIP_PAUSE)

    return StreamingResponse(drops(), media_type=whole.media_type, headers=_HEADERS)


def _tavily(query: str, hits: list[Hit]) -> dict[str, Any]:
    results = [
        {
            "title": hit.page.title,
            "url": hit.page.url,
            "content": hit.page.text,
            "score": round(hit.score, 4),
            "raw_content": None,
        }
        for hit in hits
    ]
    return {
        "query": query,
        "follow_up_questions": None,
        "answer": None,
        "images": [],
        "results": results,
        "response_time": 0.0,
        "request_id": "simulator",
    }


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok | simulator", headers=_HEADERS)


async def _models(_request: Request) -> Response:
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in _MODELS]
    return JSONResponse({"object": "list", "data": listed}, headers=_HEADERS)
