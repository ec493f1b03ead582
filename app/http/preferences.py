"""How long a client is willing to wait for an answer: ``Prefer: wait=N`` (RFC 7240) and ``?wait=N``."""

import re
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Header, Query

MAX_WAIT = timedelta(seconds=30)
_MAX_HEADER = 1024
_WAIT = re.compile(r'wait[ \t]*=[ \t]*(?:"(\d{1,9})"|(\d{1,9}))[ \t]*(?:;.*)?', re.IGNORECASE)


def parse_prefer(header: str) -> timedelta:
    """The first well-formed ``wait``, at most `MAX_WAIT`; zero without one. Other preferences are ignored."""
    for preference in header[:_MAX_HEADER].split(","):
        if match := _WAIT.fullmatch(preference.strip()):
            return _clamped(int(match[1] or match[2]))
    return timedelta()


def _clamped(seconds: int) -> timedelta:
    return min(timedelta(seconds=min(seconds, 3600)), MAX_WAIT)


async def preferred_wait(
    wait: Annotated[int | None, Query(ge=0, description="Seconds to wait for the answer, at most 30.")] = None,
    prefer: Annotated[str | None, Header(description="`wait=N`: seconds to wait, at most 30 (RFC 7240).")] = None,
) -> timedelta:
    """The query wins over the header."""
    return _clamped(wait) if wait is not None else parse_prefer(prefer or "")


PreferredWait = Annotated[timedelta, Depends(preferred_wait)]


def preference_applied(wait: timedelta) -> dict[str, str]:
    """The response header that tells the client its wish was heard; nothing when it had none."""
    return {"Preference-Applied": f"wait={int(wait.total_seconds())}"} if wait else {}
