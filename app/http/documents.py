"""What routes take that documents are sent to: their text, and which version it is to replace."""

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from app.errors import Invalid
from app.http.body_limit import JSON

YAML = ("application/yaml", "text/yaml")
MEDIA_TYPES = (*YAML, JSON)
_ETAG = re.compile(r'"([!#-~]{1,128})"')


async def document_text(request: Request) -> str:
    """The body as text. Raises `Invalid` when it is none."""
    body = await request.body()
    if not body.strip():
        raise Invalid("the body is empty; send a document", field="body", type="missing")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"the body is not UTF-8 at byte {error.start}", field="body") from None


DocumentText = Annotated[str, Depends(document_text)]


async def expected_version(
    if_match: Annotated[
        str | None,
        Header(description="The ETag of an answer: only when that is the current version.", max_length=200),
    ] = None,
) -> str | None:
    if if_match is None:
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Invalid('If-Match takes one ETag of an answer, as "sha256:..."', field="If-Match")
    return found[1]


ExpectedVersion = Annotated[str | None, Depends(expected_version)]


def document_body(description: str, example: dict[str, Any]) -> dict[str, Any]:
    """For ``openapi_extra=`` of a route whose body is no model: its problems are answered with line and column."""
    content = {
        JSON: {"schema": {"type": "object"}, "example": example},
        **{media_type: {"schema": {"type": "string"}} for media_type in YAML},
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}
