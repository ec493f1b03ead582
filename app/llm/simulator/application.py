"""The endpoints: OpenAI's chat completions and models, Tavily's search, and the simulator's own under `/_sim`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.llm.simulator.call_log import CallLog
from app.llm.simulator.completions import Reply, body, events, reply_to, usage_of
from app.llm.simulator.control import Control
from app.llm.simulator.conversation import Conversation, Kind, Malformed, read_conversation, tokens_in
from app.llm.simulator.corpus import Corpus, Hit, load_corpus
from app.llm.simulator.delivery import Delivery, manner_of, pieces_of
from app.llm.simulator.failures import HEADERS, INVALID, SERVER_ERROR, failure, ordered_failure, wrong_key
from app.llm.simulator.faults import (
    LONGEST_HANG,
    Behaviour,
    Fault,
    FaultBoard,
    UnknownFault,
    faults_in,
    without_directives,
)
from app.llm.simulator.player import Player, Verdict
from app.llm.simulator.scenario import Asked, Scenario
from app.llm.simulator.scenario_files import CALM, load_scenario
from app.llm.simulator.waiting import WaitingRoom

_MOST_RESULTS = 20
_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-5-mini")
_JSON, _EVENTS = "application/json", "text/event-stream"
_HALF_AN_ANSWER = b'{"id": "chatcmpl-simulated", "choi'
# Taken for a wrong one; any other is right, and so is none.
_WRONG_KEY = "Bearer invalid"


class Simulator:
    """One simulated provider: its scenario, its standing faults, its log and its corpus."""

    def __init__(
        self, *, docs: Path | None = None, latency: float = 0.0, scenario: Scenario | None = None, seed: int = 0
    ) -> None:
        self._board = FaultBoard(latency=latency)
        self._log = CallLog()
        self._docs = docs
        self._corpus: Corpus | None = None
        self.waiting = WaitingRoom()
        player = Player(scenario or load_scenario(CALM), seed=seed)
        self.control = Control(self._board, self._log, self.waiting, player)

    async def chat(self, request: Request) -> Response:
        came_at = time.time()
        if _has_wrong_key(request):
            return wrong_key()
        try:
            conversation = read_conversation(await request.json())
        except (Malformed, UnknownFault, ValueError, RecursionError) as error:
            return failure(400, str(error), INVALID)
        verdict = self._verdict_on(conversation)
        response, tokens = await self._faulty(request, verdict.fault), 0
        if response is None:
            response, tokens = self._answer(conversation, verdict.fault)
        self._log.add(
            conversation.kind,
            at=came_at,
            status=response.status_code,
            tokens=tokens,
            model=conversation.model,
            stream=conversation.stream,
            digest=conversation.digest[:16],
            corrections=conversation.corrections,
            rules=verdict.rules,
        )
        return response

    async def search(self, request: Request) -> Response:
        try:
            asked = await request.json()
            query, most = str(asked["query"]), int(asked.get("max_results") or 5)
            ordered = self._board.due(Kind.SEARCH, faults_in(query), query)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"detail": {"error": str(error)}}, 400, HEADERS)
        facts = Asked(role=Kind.SEARCH, model="", streaming=False, tokens=tokens_in(query), is_corrected=False)
        verdict = _together(ordered, self.control.player.due(facts, query))
        response = await self._faulty(request, verdict.fault) or self._found(
            without_directives(query), most, verdict.fault
        )
        self._log.add(Kind.SEARCH, status=response.status_code, rules=verdict.rules)
        return response

    def _verdict_on(self, conversation: Conversation) -> Verdict:
        is_corrected = conversation.corrections > 0
        ordered = self._board.due(
            conversation.kind, conversation.faults, conversation.digest, is_corrected=is_corrected
        )
        facts = Asked(
            role=conversation.kind,
            model=conversation.model,
            streaming=conversation.stream,
            tokens=conversation.prompt_tokens,
            is_corrected=is_corrected,
        )
        return _together(ordered, self.control.player.due(facts, conversation.digest))

    async def _faulty(self, request: Request, fault: Fault) -> Response | None:
        seconds = LONGEST_HANG if fault.behaviour is Behaviour.HANG else fault.latency
        if seconds and not await self.waiting.wait(request, seconds):
            return failure(503, "the simulator stops", SERVER_ERROR)
        if fault.behaviour is Behaviour.HANG:
            return failure(504, "simulated hang", SERVER_ERROR)
        if fault.error is not None:
            return ordered_failure(fault.error, retry_after=fault.retry_after, reset_after=fault.reset_after)
        return None

    def _answer(self, conversation: Conversation, fault: Fault) -> tuple[Response, int]:
        """Also how many tokens it is billed with, whether all of it arrives or not."""
        if fault.behaviour is Behaviour.MALFORMED:
            return _malformed(streaming=conversation.stream), 0
        reply = reply_to(conversation, fault)
        tokens: int = usage_of(conversation, reply)["total_tokens"]
        return self._spoken(conversation, reply, fault), tokens

    def _spoken(self, conversation: Conversation, reply: Reply, fault: Fault) -> Response:
        if conversation.stream:
            parts = [event.encode() for event in events(conversation, reply, piece=fault.piece)]
            if fault.behaviour is Behaviour.NO_CHOICES:
                parts = parts[-1:]
            return self._deliver(parts, fault, media_type=_EVENTS)
        answer = body(conversation, reply)
        if fault.behaviour is Behaviour.NO_CHOICES:
            answer["choices"] = []
        whole = JSONResponse(answer, headers=HEADERS)
        if manner_of(fault, streaming=False).is_plain:
            return whole
        return self._deliver(pieces_of(bytes(whole.body), fault), fault, media_type=_JSON)

    def _deliver(self, parts: list[bytes], fault: Fault, *, media_type: str) -> Response:
        manner = manner_of(fault, streaming=media_type == _EVENTS)
        return Delivery(parts, manner, self.waiting, media_type=media_type, headers=HEADERS)

    def _found(self, query: str, most: int, fault: Fault) -> Response:
        if fault.behaviour is Behaviour.MALFORMED:
            return _malformed(streaming=False)
        if self._corpus is None:
            self._corpus = load_corpus(self._docs)
        most = 0 if fault.behaviour is Behaviour.EMPTY else min(most, _MOST_RESULTS)
        whole = JSONResponse(_tavily(query, self._corpus.search(query, most=most)), headers=HEADERS)
        if manner_of(fault, streaming=False).is_plain:
            return whole
        return self._deliver(pieces_of(bytes(whole.body), fault), fault, media_type=_JSON)


def build_application(simulator: Simulator) -> Starlette:
    return Starlette(
        routes=[
            Route("/health", _health),
            Route("/v1/models", _models),
            Route("/v1/models/{model:path}", _model),
            Route("/v1/chat/completions", simulator.chat, methods=["POST"]),
            Route("/search", simulator.search, methods=["POST"]),
            *simulator.control.routes(),
        ]
    )


def _together(ordered: Fault, played: Verdict) -> Verdict:
    """What was ordered goes before the scenario, which then makes the call slower at most."""
    if not ordered.fails:
        return Verdict(ordered + played.fault, played.rules)
    slower = Fault(latency=played.fault.latency, pace=played.fault.pace)
    return replace(played, fault=ordered + slower)


def _malformed(*, streaming: bool) -> Response:
    if streaming:
        return Response(b"data: " + _HALF_AN_ANSWER + b"\n\n", media_type=_EVENTS, headers=HEADERS)
    return Response(_HALF_AN_ANSWER, media_type=_JSON, headers=HEADERS)


def _has_wrong_key(request: Request) -> bool:
    return request.headers.get("authorization", "").startswith(_WRONG_KEY)


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
    return PlainTextResponse("ok | simulator", headers=HEADERS)


async def _models(request: Request) -> Response:
    if _has_wrong_key(request):
        return wrong_key()
    return JSONResponse({"object": "list", "data": [_listed(name) for name in _MODELS]}, headers=HEADERS)


async def _model(request: Request) -> Response:
    # Whatever is asked for answers as that model.
    return JSONResponse(_listed(request.path_params["model"]), headers=HEADERS)


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "simulator"}
