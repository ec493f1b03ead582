"""The HTTP routes of sessions; that of a session's tasks is with the tasks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from app.governance.audit.recording import Record
from app.http.openapi import responses
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.identity.authentication import CurrentPrincipal
from app.sessions.messages import Message
from app.sessions.models import Overview, Session
from app.sessions.schemas import (
    MessageListResponse,
    SessionCost,
    SessionItem,
    SessionListResponse,
    SessionMessage,
    SessionResponse,
)
from app.sessions.service import SessionService

router = APIRouter(prefix="/v1/sessions", tags=["Sessions"])
SessionId = Annotated[str, Path(max_length=128, description="The `session_id` of its tasks.", examples=["demo"])]


async def _service(request: Request) -> SessionService:
    service: SessionService = request.app.state.sessions
    return service


Sessions = Annotated[SessionService, Depends(_service)]


@router.get("", responses=responses(422, 503))
async def list_sessions(sessions: Sessions, principal: CurrentPrincipal, params: PageQuery) -> SessionListResponse:
    """Sessions that a client named or went on with, newest activity first, by page or by cursor."""
    page = await sessions.list_page(principal.tenant_id, params)
    return SessionListResponse(
        items=[_present_item(session) for session in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.last_activity_at, last.id)),
    )


@router.get("/{session_id}", responses=responses(404, 422, 503))
async def get_session(session_id: SessionId, sessions: Sessions, principal: CurrentPrincipal) -> SessionResponse:
    """One session with what its tasks come to, counted up to 10,000."""
    return _present(await sessions.get(principal.tenant_id, session_id))


@router.get("/{session_id}/messages", responses=responses(404, 422, 503))
async def list_session_messages(
    session_id: SessionId, sessions: Sessions, principal: CurrentPrincipal, params: PageQuery
) -> MessageListResponse:
    """What was asked and answered, oldest first, by page or by cursor."""
    page = await sessions.list_messages(principal.tenant_id, session_id, params)
    return MessageListResponse(
        items=[_present_message(message) for message in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last["created_at"], last["_id"])),
    )


@router.delete("/{session_id}", status_code=204, response_class=Response, responses=responses(403, 404, 409, 422, 503))
async def delete_session(
    session_id: SessionId, sessions: Sessions, principal: CurrentPrincipal, record: Record
) -> Response:
    """Delete its messages and its memory. Its tasks stay, and no later task is told of them."""
    async with record.around("session.deleted", {"session_id": session_id}):
        await sessions.delete(principal.tenant_id, session_id)
    return Response(status_code=204)


def _present(overview: Overview) -> SessionResponse:
    totals = overview.totals
    return SessionResponse(
        session_id=overview.session_id,
        created_at=totals.created_at,
        last_activity_at=totals.last_activity_at,
        expires_at=overview.expires_at,
        message_count=overview.messages,
        task_count=totals.tasks,
        has_summary=overview.has_summary,
        cost=SessionCost(tokens=totals.tokens, usd=totals.usd),
    )


def _present_item(session: Session) -> SessionItem:
    return SessionItem(
        session_id=session.id,
        last_activity_at=session.last_activity_at,
        expires_at=session.expires_at,
        has_summary=session.memory is not None,
    )


def _present_message(message: Message) -> SessionMessage:
    return SessionMessage(**{name: message[name] for name in ("task_id", "role", "content", "created_at")})
