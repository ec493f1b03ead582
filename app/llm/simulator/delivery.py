"""How an answer gets to its caller: at once, in pieces with pauses, or not all of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.llm.simulator.faults import LONGEST_HANG, Behaviour, Fault
from app.llm.simulator.waiting import WaitingRoom, passes

_HALF = 0.5
_PIECE = 64
# Minutes for a whole answer, and never silent for as long as a client waits for the next byte.
_DRIP_PACE = 0.1
# How a stream ends: the reason, the usage, the mark of the end. With the first of them it would count as whole.
_ENDING = 3


@dataclass(frozen=True, slots=True)
class Manner:
    """``pace`` is in seconds; ``share`` is how much comes, None for everything; a stalled answer leaves the connection
    open."""

    pace: float = 0.0
    share: float | None = None
    stalls: bool = False

    @property
    def is_plain(self) -> bool:
        return not self.pace and self.share is None

    def coming(self, parts: Sequence[bytes]) -> Sequence[bytes]:
        if self.share is None:
            return parts
        return parts[: min(int(len(parts) * self.share), max(len(parts) - _ENDING, 0))]


def manner_of(fault: Fault, *, streaming: bool) -> Manner:
    drips = fault.behaviour is Behaviour.DRIP
    pace = max(fault.pace if streaming else 0.0, _DRIP_PACE if drips else 0.0)
    if fault.behaviour not in {Behaviour.DROP, Behaviour.STALL}:
        return Manner(pace)
    return Manner(pace, _HALF if fault.after is None else fault.after, fault.behaviour is Behaviour.STALL)


def pieces_of(body: bytes, fault: Fault) -> list[bytes]:
    """Byte by byte for one that drips, which a timeout per read never notices."""
    size = 1 if fault.behaviour is Behaviour.DRIP else _PIECE
    return [body[start : start + size] for start in range(0, len(body), size)]


class Delivery(Response):
    """Status 200 and these parts. The server closes the connection of an answer that was not finished."""

    def __init__(
        self,
        parts: Sequence[bytes],
        manner: Manner,
        room: WaitingRoom,
        *,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)
        self._parts = manner.coming(parts)
        self._manner = manner
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._manner.is_plain:
            await self._say_all(send)
            return
        async with self._room.watching(Request(scope, receive)) as departure:
            await self._say_slowly(send, departure)

    async def _say_all(self, send: Send) -> None:
        for part in self._parts:
            await send(_body(part, more=True))
        await send(_body(b"", more=False))

    async def _say_slowly(self, send: Send, departure: asyncio.Task[None]) -> None:
        for part in self._parts:
            await send(_body(part, more=True))
            if self._manner.pace and not await passes(self._manner.pace, departure):
                return
        if self._manner.share is None:
            await send(_body(b"", more=False))
        elif self._manner.stalls:
            await passes(LONGEST_HANG, departure)


def _body(part: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": part, "more_body": more}
