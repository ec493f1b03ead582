"""The use cases of a session: read it and what was said in it, list the sessions, delete one."""

import asyncio
from datetime import datetime

from app.http.pagination import MOST_COUNTED, Page, PageParams
from app.jobs.retention import UnderLegalHold
from app.sessions.messages import Message, MessageLog
from app.sessions.models import Overview, Session, SessionNotFound
from app.sessions.repository import SessionRepository
from app.sessions.tasks import SessionTasks


class SessionService:
    """A session is there as long as a task of it is. Each method raises `SessionNotFound`, but for the list."""

    def __init__(self, sessions: SessionRepository, tasks: SessionTasks, messages: MessageLog) -> None:
        self._sessions = sessions
        self._tasks = tasks
        self._messages = messages

    async def get(self, tenant_id: str, session_id: str) -> Overview:
        session = await self._sessions.find(tenant_id, session_id)
        since = self._beginning(session)
        totals, messages = await asyncio.gather(
            self._tasks.total(tenant_id, session_id, since=since),
            self._messages.count(tenant_id, session_id, since=since, limit=MOST_COUNTED),
        )
        if totals is None:
            raise _not_found(session_id)
        expires_at = session.expires_at if session else self._sessions.expiry_after(totals.last_activity_at)
        return Overview(session_id, totals, messages, expires_at, has_summary=bool(session and session.memory))

    async def get_beginning(self, tenant_id: str, session_id: str) -> datetime:
        """The session's tasks are those accepted since then."""
        since = self._beginning(await self._sessions.find(tenant_id, session_id))
        if not await self._tasks.has_task(tenant_id, session_id, since=since):
            raise _not_found(session_id)
        return since

    async def list_messages(self, tenant_id: str, session_id: str, params: PageParams) -> Page[Message]:
        since = await self.get_beginning(tenant_id, session_id)
        found, total = await asyncio.gather(
            self._messages.list_page(
                tenant_id, session_id, since=since, limit=params.page_size + 1, skip=params.skip, after=params.after
            ),
            self._messages.count(tenant_id, session_id, since=since, limit=MOST_COUNTED),
        )
        return Page.of(found, params, total=total)

    async def list_page(self, tenant_id: str, params: PageParams) -> Page[Session]:
        """Sessions that a client named or went on with, once a worker has begun such a task."""
        found, total = await asyncio.gather(
            self._sessions.list_page(tenant_id, limit=params.page_size + 1, skip=params.skip, after=params.after),
            self._sessions.count(tenant_id, limit=MOST_COUNTED),
        )
        return Page.of(found, params, total=total)

    async def delete(self, tenant_id: str, session_id: str) -> None:
        """Delete messages and memory. The tasks stay, and are no part of the session any more.

        Raises `UnderLegalHold` when one of them is held.
        """
        await self.get_beginning(tenant_id, session_id)
        if held := await self._tasks.find_held(tenant_id, session_id):
            raise UnderLegalHold(f"task {held} of this session is under legal hold; release it first", task_id=held)
        # The session last: after a crash in between it is still there, to be deleted again.
        await self._messages.delete_session(tenant_id, session_id)
        await self._sessions.forget(tenant_id, session_id)

    def _beginning(self, session: Session | None) -> datetime:
        return session.begins_at if session else self._sessions.default_beginning()


def _not_found(session_id: str) -> SessionNotFound:
    return SessionNotFound(f"no session {session_id[:128]!r}", session_id=session_id[:128])
