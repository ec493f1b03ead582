"""An artifact on its way in: what its headers announce, and its body in pieces."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta

from starlette.requests import ClientDisconnect, Request

from app.artifacts.checksum import ArtifactIncomplete
from app.artifacts.models import LONGEST_PAUSE, check_digest, check_name
from app.artifacts.uploads import Announced
from app.errors import OrchestratorError
from app.http.body_limit import SlowBody, UnsupportedMediaType, announced_length, check_plain, too_large

_MEDIA_TYPE = re.compile(r"([a-z]+/[a-z0-9][a-z0-9.+-]{0,79})(?: ?; ?charset=\"?(utf-8)\"?)?")
# What clients send when they were not told what to send, or wrap files in.
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
# Of the digest, for who gives no name.
_NAMED_BY = 16


class LengthRequired(OrchestratorError):
    code = "LENGTH_REQUIRED"
    status = 411
    title = "Length required"


def announced_by(request: Request, sha256: str, name: str | None, *, max_bytes: int) -> Announced:
    """Reads no body. Raises `LengthRequired`, `PayloadTooLarge`, `UnsupportedMediaType` or `Invalid`."""
    check_digest(sha256)
    check_plain(request.scope)
    if "content-length" not in request.headers:
        raise LengthRequired("say with Content-Length how many bytes there are")
    size = announced_length(request.scope)
    if size > max_bytes:
        raise too_large(max_bytes)
    if name is not None:
        check_name(name)
    return Announced(sha256, size, _media_type(request), name or sha256[:_NAMED_BY])


def _media_type(request: Request) -> str:
    given = request.headers.get("content-type", "").lower().strip()
    found = _MEDIA_TYPE.fullmatch(given)
    if given.partition(";")[0].strip() in _FORMS or (found and found[1] in _FORMS):
        raise UnsupportedMediaType("send the bytes themselves with the file's own Content-Type, not a form")
    if found is None:
        raise UnsupportedMediaType(
            "say with Content-Type what it is, such as text/csv or application/octet-stream; the only parameter that "
            "is taken is charset=utf-8"
        )
    return f"{found[1]}; charset=utf-8" if found[2] else found[1]


async def pieces_of(request: Request, *, longest_pause: timedelta = LONGEST_PAUSE) -> AsyncIterator[bytes]:
    """The body as it comes. Raises `SlowBody` when nothing comes for long, `ArtifactIncomplete` when nothing will."""
    body = request.stream()
    while True:
        try:
            async with asyncio.timeout(longest_pause.total_seconds()):
                piece = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise SlowBody("the artifact did not go on for too long; nothing of it was kept") from None
        except ClientDisconnect:
            raise ArtifactIncomplete("the connection broke off before the end; send it again") from None
        if piece:
            yield piece
