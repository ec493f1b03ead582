"""An effect: something a task does to the world outside, under a key that stays the same over all attempts."""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.errors import Invalid
from app.jobs.models import JobError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
LONGEST_STEP = 200


class EffectStatus(StrEnum):
    """``STARTED`` means that it may have happened, ``FAILED`` that it certainly did not."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Intent:
    """An effect that an attempt is about to perform.

    ``fence`` grows with every claim of the task, so that a later attempt can be told from an earlier one.
    """

    key: str
    tenant_id: str
    task_id: str
    name: str
    step: str | None
    digest: str
    attempt: int
    fence: int
    lease: str | None
    receiver_deduplicates: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """What the ledger knows. ``result`` is JSON text; ``firings`` counts how often it was sent under its key."""

    key: str
    task_id: str
    name: str
    step: str | None
    digest: str
    status: EffectStatus
    attempt: int
    fence: int
    firings: int
    started_at: datetime
    fired_at: datetime
    finished_at: datetime | None = None
    result: str | None = None
    error: JobError | None = None
    resolved_by: str | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """The right to fire an effect once. ``is_doubtful`` says that an earlier firing may have happened."""

    intent: Intent
    number: int
    is_doubtful: bool = False


def effect_key(tenant_id: str, task_id: str, name: str, discriminator: str) -> str:
    """A UUID (version 8, RFC 9562 appendix B.2: SHA-256 of a name), which every receiver's key field can hold.

    The task's id is random, so that nothing can be guessed from the key.
    """
    named = json.dumps([tenant_id, task_id, name, discriminator]).encode()
    digest = bytearray(hashlib.sha256(named).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def arguments_digest(arguments: Any) -> str:
    """SHA-256 over canonical JSON. Raises `Invalid` for what is not JSON."""
    try:
        canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid("the arguments of an effect must be plain JSON data") from error
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_names(name: str, step: str | None) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid("an effect's name has at most 64 letters, digits, `_`, `.` and `-`, beginning with a letter")
    if step is not None and not 1 <= len(step) <= LONGEST_STEP:
        raise Invalid(f"an effect's step has 1 to {LONGEST_STEP} characters")
