"""What routes take from headers and queries. Workers need what it is read into, and should not load FastAPI for it."""

import re
from typing import Annotated

from fastapi import Depends, Header, Query

from app.errors import Invalid
from app.http.pagination import DEFAULT_PAGE_SIZE, PageParams, decode_cursor

MAX_PAGE_SIZE = 100
# Skipping costs the store as much as reading; a cursor costs nothing.
MAX_DEPTH = 10_000
_KEY = re.compile(r"[ -~]{1,255}")


async def idempotency_key(
    header: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Same key and body within 24 h: the first answer again. 1 to 255 printable ASCII characters.",
        ),
    ] = None,
) -> str | None:
    if header is not None and not _KEY.fullmatch(header):
        raise Invalid("Idempotency-Key takes 1 to 255 printable ASCII characters", field="Idempotency-Key")
    return header


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


async def page_params(
    page: Annotated[int | None, Query(ge=1, description="Page number, from 1.")] = None,
    page_size: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Entries per page.")] = DEFAULT_PAGE_SIZE,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the last answer, instead of `page`.")] = None,
) -> PageParams:
    if cursor is not None:
        if page is not None:
            raise Invalid("give page or cursor, not both", field="cursor")
        return PageParams(page_size=page_size, after=decode_cursor(cursor))
    if (page or 1) * page_size > MAX_DEPTH:
        raise Invalid(f"pages end at entry {MAX_DEPTH}; go on with next_cursor of the last answer", field="page")
    return PageParams(page=page or 1, page_size=page_size)


PageQuery = Annotated[PageParams, Depends(page_params)]
