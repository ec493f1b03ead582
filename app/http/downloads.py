"""Answers that are files."""

from collections.abc import AsyncIterator

from fastapi import Response
from fastapi.responses import StreamingResponse

# A file that somebody else wrote must never act in the name of this site, not even when it is opened in a tab.
INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def download(pieces: AsyncIterator[bytes], *, name: str, media_type: str, sha256: str, size: int) -> Response:
    """For whoever asks again it is the same for ever. An answer that breaks off is shorter than it said."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(size),
        "Content-Security-Policy": INERT,
        "X-Content-Type-Options": "nosniff",
        **_unchanging(sha256),
    }
    return StreamingResponse(pieces, media_type=media_type, headers=headers)


def not_modified(if_none_match: str | None, sha256: str) -> Response | None:
    """The answer for whoever says that it has the file already."""
    known = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return Response(status_code=304, headers=_unchanging(sha256)) if known & {"*", f'"{sha256}"'} else None


def _unchanging(sha256: str) -> dict[str, str]:
    return {"ETag": f'"{sha256}"', "Cache-Control": "private, max-age=31536000, immutable"}
