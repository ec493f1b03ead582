import asyncio
from datetime import timedelta

import pytest
from starlette.requests import Request
from starlette.types import Message

from app.artifacts.checksum import ArtifactIncomplete
from app.artifacts.models import LONGEST_PAUSE, longest_upload
from app.artifacts.receiving import pieces_of
from app.http.body_limit import SlowBody

SCOPE = {"type": "http", "method": "PUT", "path": "/", "headers": []}
FIRST: Message = {"type": "http.request", "body": b"first", "more_body": True}


def request_of(*messages: Message) -> Request:
    """One whose client sends these, and then nothing more."""
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return Request(SCOPE, receive)


async def test_a_body_comes_in_its_pieces() -> None:
    request = request_of(FIRST, {"type": "http.request", "body": b"", "more_body": True}, {**FIRST, "more_body": False})

    assert [piece async for piece in pieces_of(request)] == [b"first", b"first"]


async def test_a_body_that_pauses_for_too_long_is_given_up() -> None:
    pieces = pieces_of(request_of(FIRST), longest_pause=timedelta(milliseconds=20))

    assert await anext(pieces) == b"first"
    with pytest.raises(SlowBody):
        await anext(pieces)


async def test_a_client_that_goes_away_sent_too_little() -> None:
    pieces = pieces_of(request_of(FIRST, {"type": "http.disconnect"}))

    assert await anext(pieces) == b"first"
    with pytest.raises(ArtifactIncomplete):
        await anext(pieces)


def test_the_time_for_an_upload_grows_with_its_size() -> None:
    assert longest_upload(0) == LONGEST_PAUSE
    assert longest_upload(1024**3) == LONGEST_PAUSE + timedelta(seconds=16 * 1024)
