"""The pages behind signed links. The link is the credential, so no key is asked for: see `Authentication`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from app.errors import Invalid, OrchestratorError
from app.governance.approvals import page, web_form
from app.governance.approvals.links import PREFIX
from app.governance.approvals.routes import Links
from app.governance.approvals.web_form import filled, read_texts
from app.http.body_limit import Documents
from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.identity.link_tokens import ApprovalLink

# By path, for the limits of bodies: all that are below it.
DOCUMENTS = {PREFIX: Documents(web_form.LARGEST_BODY, (web_form.MEDIA_TYPE,))}
_FIELDS = {"type": "object", "additionalProperties": {"type": "string"}}
_BODY = {"requestBody": {"content": {web_form.MEDIA_TYPE: {"schema": _FIELDS}}}}
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


@router.post(
    PUBLIC_PATH,
    response_class=HTMLResponse,
    responses=responses(403, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=_BODY,
)
async def use_approval_link(links: Links, link: Link, principal: CurrentPrincipal, request: Request) -> HTMLResponse:
    """Give the answer that the link is for, with what the page asks for filled in."""
    texts: dict[str, str] = {}
    try:
        texts = read_texts(await request.body())
        approval = await links.show(link)
        form, comment = filled(approval.terms.form if link.approved else {}, texts)
        decided = await links.use(principal, link, form, comment)
    except Invalid as error:
        asked = page.confirmation(await links.show(link), link, texts, problem=error.message)
        return HTMLResponse(asked, error.status, headers=page.HEADERS)
    except OrchestratorError as error:
        if error.status >= 500:
            raise
        return HTMLResponse(page.told(error.title, error.message), error.status, headers=page.HEADERS)
    return HTMLResponse(page.decided(decided), headers=page.HEADERS)
