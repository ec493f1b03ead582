"""The HTTP routes of artifacts by their digest: uploads, and all that tasks and executions have."""

import re
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from app.artifacts.receiving import announced_by, pieces_of
from app.artifacts.schemas import (
    EXAMPLE_DIGEST,
    ArtifactInfoResponse,
    ArtifactLinkResponse,
    UploadListResponse,
    info_of,
    response_of,
)
from app.artifacts.service import ArtifactFinder
from app.artifacts.uploads import UploadService
from app.http.downloads import download, not_modified
from app.http.openapi import responses, writing
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.identity.authentication import CurrentPrincipal

PREFIX = "/v1/artifacts"
# Its body is not read before the route does, as it may be larger than memory.
STREAMS = re.compile(rf"PUT {PREFIX}/[^/]+")
LINK_LIFETIME = timedelta(minutes=10)

router = APIRouter(prefix=PREFIX, tags=["Artifacts"])
Digest = Annotated[
    str, Path(max_length=128, description="SHA-256 in lower-case hexadecimal.", examples=[EXAMPLE_DIGEST])
]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes themselves, at most ARTIFACT_UPLOAD_MAX_BYTES, with Content-Length and Content-Type.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The artifact's bytes, in its media type.", "content": {"*/*": {}}},
    304: {"description": "You have it already: If-None-Match names it."},
}


async def _finder(request: Request) -> ArtifactFinder:
    finder: ArtifactFinder = request.app.state.artifact_finder
    return finder


async def _uploads(request: Request) -> UploadService:
    uploads: UploadService = request.app.state.uploads
    return uploads


Finder = Annotated[ArtifactFinder, Depends(_finder)]
Uploads = Annotated[UploadService, Depends(_uploads)]


@router.put(
    "/{sha256}",
    responses={**writing(408, 409, 411), 201: {"model": ArtifactInfoResponse, "description": "It is new."}},
    openapi_extra=_BODY,
)
async def upload_artifact(
    sha256: Digest,
    request: Request,
    response: Response,
    uploads: Uploads,
    principal: CurrentPrincipal,
    name: Annotated[str | None, Query(description="What it is saved as; letters, digits, `.`, `_` and `-`.")] = None,
) -> ArtifactInfoResponse:
    """Keep bytes under their digest, all of them and checked, or nothing. The same again changes nothing: 200."""
    max_bytes = request.app.state.core.settings.artifact_upload_max_bytes
    announced = announced_by(request, sha256, name, max_bytes=max_bytes)
    kept, is_new = await uploads.put(principal.tenant_id, announced, pieces_of(request), by=principal.key_id)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"{PREFIX}/{sha256}"
    return response_of(kept.as_found())


@router.get("", responses=responses(422, 503))
async def list_uploads(uploads: Uploads, principal: CurrentPrincipal, params: PageQuery) -> UploadListResponse:
    """What your tenant uploaded, newest first, by page or by cursor."""
    page = await uploads.list_page(principal.tenant_id, params)
    return UploadListResponse(
        items=[info_of(one.as_found()) for one in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.created_at, last.id)),
    )


@router.get("/{sha256}", response_class=Response, responses={**responses(404, 503), **_FILE})
async def download_artifact(
    sha256: Digest,
    finder: Finder,
    principal: CurrentPrincipal,
    if_none_match: Annotated[str | None, Header(description="ETags of what you have.", max_length=1000)] = None,
) -> Response:
    """Any artifact of your tenant as a file. Up to 8 MiB are checked before they are sent; a larger one that is not
    what it should be breaks off before its end."""
    found = await finder.get(principal.tenant_id, sha256)
    if unchanged := not_modified(if_none_match, sha256):
        return unchanged
    pieces = await finder.open(found)
    return download(pieces, name=found.name, media_type=found.media_type, sha256=sha256, size=found.size)


@router.get("/{sha256}/info", responses=responses(404, 503))
async def get_artifact(sha256: Digest, finder: Finder, principal: CurrentPrincipal) -> ArtifactInfoResponse:
    """What an artifact is, what it belongs to and how long it is kept."""
    return response_of(await finder.get(principal.tenant_id, sha256))


@router.get("/{sha256}/link", responses=responses(404, 409, 503))
async def link_artifact(sha256: Digest, finder: Finder, principal: CurrentPrincipal) -> ArtifactLinkResponse:
    """A link that anybody can download the artifact at for ten minutes, from S3; nothing checks it on the way."""
    url = await finder.sign(principal.tenant_id, sha256, expires_in=LINK_LIFETIME)
    return ArtifactLinkResponse(url=url, expires_in=int(LINK_LIFETIME.total_seconds()), sha256=sha256)


@router.delete("/{sha256}", status_code=204, response_class=Response, responses=writing(404, 409))
async def delete_upload(sha256: Digest, uploads: Uploads, principal: CurrentPrincipal) -> Response:
    """Delete an upload. What tasks and executions have is deleted with them only."""
    await uploads.delete(principal.tenant_id, sha256, by=principal.key_id)
    return Response(status_code=204)
