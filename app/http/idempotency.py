"""Repeating a POST safely: the same key and body give the first answer again."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from app.clock import Clock, utc_now
from app.database.idempotency import Reservation, Reservations
from app.errors import Invalid

LIFETIME = timedelta(hours=24)


class IdempotencyKeyReused(Invalid):
    """The key was used for another body."""

    code = "IDEMPOTENCY_KEY_REUSED"
    title = "Idempotency key reused"


def body_digest(body: Any) -> str:
    """SHA-256 over canonical JSON: neither white space nor the order of members makes another body."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class Idempotency:
    """Reserves ids of work before the work is created.

    The caller creates the work under the id it gets back, in a way that a second creation is harmless. So a
    process that dies between the reservation and the creation costs nothing: the client's retry gets the same id.
    """

    def __init__(self, reservations: Reservations, *, clock: Clock = utc_now) -> None:
        self._reservations = reservations
        self._clock = clock

    async def reserve(self, key: str, *, tenant_id: str, route: str, body: Any, work_id: str) -> str:
        """The id recorded first under this key, ``work_id`` when it is new.

        ``route`` names method and path (with the ids in it); ``body`` is plain JSON data.
        Raises `IdempotencyKeyReused` when the key came with another body within the last 24 hours.
        """
        now, digest = self._clock(), body_digest(body)
        first = await self._reservations.reserve(
            Reservation(_scope(tenant_id, route, key), tenant_id, digest, work_id, now, now + LIFETIME), now=now
        )
        if first.digest != digest:
            raise IdempotencyKeyReused(
                "this Idempotency-Key was used for another body; use a new key", field="Idempotency-Key", type="reused"
            )
        return first.work_id


def _scope(tenant_id: str, route: str, key: str) -> str:
    return hashlib.sha256(json.dumps([tenant_id, route, key]).encode()).hexdigest()
