"""A recording: what the agents of one attempt were given, whom they asked, and what came of it.

Light: the API imports it.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import OrchestratorError
from app.llm.messages import Message

VERSION = 1
MEDIA_TYPE = "application/gzip"
# In the document of the task or step, one entry per attempt that was recorded.
RECORDINGS = "recordings"
# Of what evaluates, in its inputs: the result that is evaluated, where no agent of the same attempt has made it.
EVALUATED = "evaluated"
# What a recording may be unpacked to; a blob that claims more is not one of ours.
LARGEST = 64 * 1024 * 1024
_GZIP_WINDOW = 31


class RecordingUnreadable(OrchestratorError):
    code = "RECORDING_UNREADABLE"
    title = "Recording unreadable"


class CallKind(StrEnum):
    COMPLETE = "complete"
    STRUCTURED = "structured"
    SEARCH = "search"
    TOOL = "tool"
    EFFECT = "effect"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RecordedMessage(_Record):
    role: Literal["system", "user", "assistant"]
    content: str


class RecordedError(_Record):
    """``type`` is the stable code of the error, as in a task's `error`, and ``kind`` the class, of which several share
    a code. ``output`` is what a tool said that failed.
    """

    type: str
    message: str
    kind: str | None = None
    output: str | None = None


class RecordedCall(_Record):
    """One call as the agent made it: however many models a fallback chain tried, and however often, it is one.

    ``asked`` is what identifies the request besides its messages; ``response`` is the text, or JSON data. An effect's
    arguments are never kept, only a digest of them.
    """

    kind: CallKind
    name: str
    asked: dict[str, Any] = Field(default_factory=dict)
    messages: tuple[RecordedMessage, ...] = ()
    response: Any = None
    error: RecordedError | None = None
    model: str | None = None
    tokens: dict[str, int] = Field(default_factory=dict)
    duration_ms: float = 0.0

    @property
    def digest(self) -> str:
        """Equal for equal requests, whenever and in whatever order they are made."""
        said = [[message.role, message.content] for message in self.messages]
        return digest_of([self.kind.value, self.name, self.asked, said])


class RecordedRequest(_Record):
    """What the agent was given besides its tools."""

    text: str
    session_id: str = ""
    inputs: dict[str, Any] = Field(default_factory=dict)
    feedback: str | None = None
    history: tuple[RecordedMessage, ...] = ()


class Equipment(_Record):
    """Which tools the agent could have used, whether it did or not."""

    has_search: bool = False
    max_sources: int = 5
    tools: tuple[str, ...] = ()


class RecordedRun(_Record):
    """One agent's run. ``output`` is None when it did not end well; ``error`` then says how it ended.

    ``started_at`` is in ISO 8601, ``prompts`` are the digests of those that it used, by name.
    """

    run_id: str
    agent_name: str
    agent_role: str
    agent_version: str | None = None
    request: RecordedRequest | None = None
    equipment: Equipment = Field(default_factory=Equipment)
    calls: tuple[RecordedCall, ...] = ()
    output: dict[str, Any] | None = None
    error: RecordedError | None = None
    usd: float = 0.0
    tokens: int = 0
    started_at: str | None = None
    duration_ms: float = 0.0
    prompts: dict[str, str] = Field(default_factory=dict)
    is_cut: bool = False


class Recording(_Record):
    """The runs of one attempt, in the order in which they ended; ``task_id`` is that of the step for a step's.

    ``made_by`` is the version of the product.
    """

    version: int = VERSION
    task_id: str
    attempt: int
    runs: tuple[RecordedRun, ...]
    made_by: str | None = None

    def as_text(self) -> bytes:
        """As JSON, the same for the same recording."""
        return self.model_dump_json(exclude_defaults=True).encode()

    def packed(self) -> bytes:
        return pack(self.as_text())

    @classmethod
    def unpacked(cls, data: bytes) -> Self:
        """Raises `RecordingUnreadable`."""
        inflating = zlib.decompressobj(_GZIP_WINDOW)
        try:
            text = inflating.decompress(data, LARGEST)
            if inflating.unconsumed_tail or not inflating.eof:
                raise RecordingUnreadable("the recording is cut off, or larger than any that is written")
            return cls.model_validate_json(text)
        except (zlib.error, ValidationError) as error:
            raise RecordingUnreadable(f"this is no recording: {type(error).__name__}") from error


def pack(text: bytes) -> bytes:
    return gzip.compress(text, compresslevel=3, mtime=0)


def digest_of(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def as_recorded(messages: Sequence[Message]) -> tuple[RecordedMessage, ...]:
    return tuple(RecordedMessage(role=message.role, content=str(message.content)) for message in messages)


def recordings_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of a task or step, oldest first: ``attempt``, ``sha256``, ``size`` in bytes, ``runs``, ``at``."""
    return list(document.get(RECORDINGS) or ())
