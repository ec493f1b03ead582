"""A legal hold: while there is one, nothing of its subject is deleted, however old it gets."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.errors import Conflict


class HeldKind(StrEnum):
    """What can be held."""

    TASK = "task"
    EXECUTION = "execution"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class LegalHold:
    """One subject has one hold at most."""

    kind: HeldKind
    subject_id: str
    reason: str
    placed_by: str
    placed_at: datetime


class NotHoldable(Conflict):
    """The store removes it by itself, which no hold can keep it from."""

    code = "NOT_HOLDABLE"
    title = "Cannot be held"
