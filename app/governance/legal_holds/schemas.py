"""What crosses the wire for legal holds. Field names are a contract: add, never rename or remove."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.governance.legal_holds.models import HeldKind
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp

EXAMPLE_ID = "0192f7a1-6c1e-7b11-a8a4-2f3b9f6f2c10"
LONGEST_REASON = 1000


class LegalHoldRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "case 2026-114, asked for by counsel"}]}
    )

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON)] = Field(
        description="Why it must be kept; shown with it, and kept in the audit trail."
    )


class LegalHoldNote(BaseModel):
    """Why nothing of it is deleted."""

    reason: str
    placed_by: str = Field(description="Id of the key.")
    placed_at: Timestamp


class LegalHoldItem(LegalHoldNote):
    kind: HeldKind
    subject_id: str = Field(description="Id of what is held.", examples=[EXAMPLE_ID])


class LegalHoldResponse(LegalHoldItem):
    api_version: Literal["v1"] = "v1"


class LegalHoldListResponse(BaseModel):
    items: list[LegalHoldItem]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


def read_note(stored: Any) -> LegalHoldNote | None:
    """What a subject's document says of its hold."""
    return None if stored is None else LegalHoldNote.model_validate(stored)
