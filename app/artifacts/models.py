"""What artifacts are called and what is known of them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.artifacts.places import place_of
from app.errors import Invalid

LONGEST_NAME = 100
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# A body that stays away for so long will not come; one that comes more slowly than this is refused in the end.
LONGEST_PAUSE = timedelta(seconds=30)
SLOWEST = 64 * 1024
# An upload that is still not complete so long after its last moment never will be.
GRACE = timedelta(minutes=10)


class ArtifactKind(StrEnum):
    OUTPUT = "output"
    EVALUATION = "evaluation"
    APPROVAL = "approval"
    EXECUTION = "execution"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundArtifact:
    """One artifact of a tenant, whatever it belongs to; ``place`` is where it is in the store, ``size`` in bytes.

    Only uploads have the last three of their own; the others go with their task or execution.
    """

    kind: ArtifactKind
    name: str
    media_type: str
    sha256: str
    size: int
    place: str
    created_at: datetime | None = None
    task_id: str | None = None
    execution_id: str | None = None
    step: str | None = None
    attempt: int | None = None
    created_by: str | None = None
    expires_at: datetime | None = None
    legal_hold: Mapping[str, Any] | None = None


class UploadStatus(StrEnum):
    """``incoming`` has no blob yet, ``deleting`` perhaps none any more; nobody sees either."""

    INCOMING = "incoming"
    KEPT = "kept"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What somebody sent. Each has a place of its own, so that no two requests ever write or delete the same blob.

    ``legal_hold`` is the note that its document has of one.
    """

    id: str
    tenant_id: str
    sha256: str
    size: int
    media_type: str
    name: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    legal_hold: Mapping[str, Any] | None = None

    @property
    def place(self) -> str:
        return place_of(self.tenant_id, self.id, "uploads")

    def as_found(self) -> FoundArtifact:
        return FoundArtifact(
            kind=ArtifactKind.UPLOAD,
            name=self.name,
            media_type=self.media_type,
            sha256=self.sha256,
            size=self.size,
            place=self.place,
            created_at=self.created_at,
            created_by=self.created_by,
            expires_at=self.expires_at,
            legal_hold=self.legal_hold,
        )


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str) -> None:
    if not is_digest(text):
        raise Invalid(
            f"{text[:80]!r} is no SHA-256 digest: write 64 digits in lower-case hexadecimal",
            field="sha256",
            type="string_pattern_mismatch",
        )


def check_name(name: str) -> None:
    """Nothing that could lead out of a folder, or into a header, when it is saved as a file."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{name[:LONGEST_NAME]!r} cannot be the name of an artifact: use letters, digits, `.`, `_` and `-`, "
            f"beginning with a letter or digit, at most {LONGEST_NAME}",
            field="name",
            type="string_pattern_mismatch",
        )


def longest_upload(size: int) -> timedelta:
    """How long so many bytes may take to arrive."""
    return LONGEST_PAUSE + timedelta(seconds=size / SLOWEST)
