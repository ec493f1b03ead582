"""Pages for people, cursors for deep and live lists."""

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field

from app.errors import Invalid

T = TypeVar("T")
DEFAULT_PAGE_SIZE = 20
# Counting is work that grows with the list; past this it says "at least".
MOST_COUNTED = 10_000
_MAX_CURSOR = 512
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MILLISECONDS = 253_402_300_799_999


class InvalidCursor(Invalid):
    code = "INVALID_CURSOR"
    title = "Invalid cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last entry a client has seen, in the order (created_at, id)."""

    created_at: datetime
    id: str


def encode_cursor(cursor: Cursor) -> str:
    """Opaque to clients; the time is kept in milliseconds, as in the store."""
    content = json.dumps([_milliseconds(cursor.created_at), cursor.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).rstrip(b"=").decode()


def decode_cursor(text: str) -> Cursor:
    """Raises `InvalidCursor` for anything that `encode_cursor` did not write."""
    try:
        milliseconds, identifier = _content(text)
        cursor: Cursor | None = Cursor(_EPOCH + timedelta(milliseconds=milliseconds), identifier)
    except (ValueError, RecursionError):
        cursor = None
    # Spelled otherwise it is a forgery: one position has one spelling.
    if cursor is None or encode_cursor(cursor) != text:
        raise InvalidCursor("this is no cursor of ours; use next_cursor of the last answer", field="cursor")
    return cursor


def _content(text: str) -> tuple[int, str]:
    if len(text) > _MAX_CURSOR:
        raise ValueError("too long")
    match json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)):
        case [int(milliseconds), str(identifier)] if 0 <= milliseconds <= _MAX_MILLISECONDS and _ID.fullmatch(
            identifier
        ):
            return milliseconds, identifier
        case _:
            raise ValueError("not a cursor")


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PageParams:
    """Either a page or what comes ``after`` a cursor."""

    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    after: Cursor | None = None

    @property
    def skip(self) -> int:
        return 0 if self.after else (self.page - 1) * self.page_size


class PageMeta(BaseModel):
    """Where the page lies in the list. A cursor knows no page number: ``page`` is null then."""

    page: int | None = Field(ge=1)
    page_size: int
    total_items: int
    total_pages: int
    has_next: bool
    has_previous: bool
    total_is_capped: bool = Field(False, description="True when there are more than `total_items`.")


def page_meta(params: PageParams, *, total_items: int, has_next: bool | None = None) -> PageMeta:
    """``has_next`` is computed for pages; for cursors the caller knows whether there was one entry more."""
    total_pages = math.ceil(total_items / params.page_size)
    position: dict[str, Any] = (
        {"page": None, "has_next": bool(has_next), "has_previous": True}
        if params.after
        else {"page": params.page, "has_next": params.page < total_pages, "has_previous": params.page > 1}
    )
    return PageMeta(
        page_size=params.page_size,
        total_items=total_items,
        total_pages=total_pages,
        total_is_capped=total_items >= MOST_COUNTED,
        **position,
    )


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a longer list; ``total`` is counted up to `MOST_COUNTED`."""

    items: Sequence[T]
    has_next: bool
    total: int

    @classmethod
    def of(cls, found: Sequence[T], params: PageParams, *, total: int) -> Self:
        """``found`` has one entry more than the page, if there is one."""
        return cls(found[: params.page_size], has_next=len(found) > params.page_size, total=total)

    def meta(self, params: PageParams) -> PageMeta:
        return page_meta(params, total_items=self.total, has_next=self.has_next)

    def next_cursor(self, position: Callable[[T], Cursor]) -> str | None:
        return encode_cursor(position(self.items[-1])) if self.has_next else None


def older_than(position: Cursor) -> dict[str, Any]:
    """What comes behind this place of a list with the newest first."""
    return {
        "$or": [
            {"created_at": {"$lt": position.created_at}},
            {"created_at": position.created_at, "_id": {"$lt": position.id}},
        ]
    }
