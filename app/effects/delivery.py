"""Posting to a receiver over HTTP so that its answer says whether the effect happened."""

from collections.abc import Mapping
from typing import Any

import httpx

from app.clock import utc_now
from app.effects.errors import EffectInterrupted, EffectRefused, ReceiverBusy
from app.llm.provider_errors import retry_after

# The request never left, or was turned away at the door.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
TOO_MANY = 429
# A proxy's timeout, and "one with this key is under way": the effect may have happened or be about to.
_IN_DOUBT = frozenset({408, 409, 425})


async def post_json(
    client: httpx.AsyncClient, url: str, body: Any, *, key: str, headers: Mapping[str, str] | None = None
) -> Any:
    """POST ``body`` with ``key`` as `Idempotency-Key`; the answer's JSON, or None when it has none.

    Raises `ReceiverBusy` when the request was certainly not taken and a later one may be (no connection, 429), and
    `EffectRefused` for any other 4xx. Redirects and 5xx (`EffectInterrupted`), timeouts and broken connections
    (`httpx.HTTPError`) say nothing about the effect and leave it in doubt.
    """
    try:
        response = await client.post(url, json=body, headers={**(headers or {}), "Idempotency-Key": key})
    except _NEVER_SENT as error:
        raise ReceiverBusy(f"the receiver cannot be reached ({type(error).__name__})") from error
    if not response.is_success:
        raise _error_of(response)
    return _json_of(response)


def _error_of(response: httpx.Response) -> EffectRefused | EffectInterrupted:
    status, wait = response.status_code, retry_after(response.headers, utc_now())
    if status == TOO_MANY:
        return ReceiverBusy("the receiver limits the rate", retry_after=wait)
    told = f"the receiver answered {status}"
    if response.is_client_error and status not in _IN_DOUBT:
        return EffectRefused(told)
    return EffectInterrupted(told, retry_after=wait)


def _json_of(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        # It happened all the same: an unreadable answer must not become a doubt.
        return None
