"""The pages behind signed links. The link is the credential, so no key is asked for: see `Authentication`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from app.errors import OrchestratorError
from app.governance.approvals import page
from app.governance.approvals.routes import Links
from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.identity.link_tokens import ApprovalLink

PUBLIC_PATH = "/v1/approvals/links/{token}"

router = APIRouter(tags=["Approvals"])


async def _link(request: Request) -> ApprovalLink:
    link: ApprovalLink = request.state.approval_link
    return link


# The token is checked before any route is found; here it is part of the path only.
Link = Annotated[ApprovalLink, Depends(_link)]


@router.get(PUBLIC_PATH, response_class=HTMLResponse, responses=responses(404, 503))
async def show_approval_link(links: Links, link: Link) -> HTMLResponse:
    """A page that shows what is decided and asks for a confirmation. Opening it decides nothing."""
    return HTMLResponse(page.confirmation(await links.show(link), link), headers=page.HEADERS)


@router.post(PUBLIC_PATH, response_class=HTMLResponse, responses=responses(403, 404, 409, 412, 503))
async def use_approval_link(links: Links, link: Link, principal: CurrentPrincipal) -> HTMLResponse:
    """Give the answer that the link is for."""
    try:
        decided = await links.use(principal, link)
    except OrchestratorError as error:
        if error.status >= 500:
            raise
        return HTMLResponse(page.told(error.title, error.message), error.status, headers=page.HEADERS)
    return HTMLResponse(page.decided(decided), headers=page.HEADERS)
