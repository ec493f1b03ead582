"""What a task is told of the earlier tasks of its session."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from app.clock import Clock
from app.errors import OrchestratorError
from app.ids import new_token
from app.llm.messages import Message
from app.sessions.messages import MessageLog
from app.sessions.models import CONTINUES_SESSION, Memory, Position, Session, Turn
from app.sessions.repository import SessionRepository
from app.sessions.tasks import SessionTasks
from app.sessions.window import Limits, history_of, turns_to_condense

log = structlog.get_logger(__name__)

Condense = Callable[[Memory | None, Sequence[Turn]], Awaitable[Memory]]


class SessionMemory:
    def __init__(
        self,
        sessions: SessionRepository,
        tasks: SessionTasks,
        messages: MessageLog,
        *,
        limits: Limits,
        patience: timedelta,
        clock: Clock,
    ) -> None:
        """``patience`` is how long one task is left alone with condensing, and how long a failure is not repeated."""
        self._sessions = sessions
        self._tasks = tasks
        self._messages = messages
        self._limits = limits
        self._patience = patience
        self._clock = clock

    async def recall(self, task: Mapping[str, Any], condense: Condense) -> tuple[Message, ...]:
        """The conversation before the task, oldest first, within the limits; prolongs the life of the session.

        Does nothing for a task whose client named no session. ``condense`` may fail: the oldest turns are then missing.
        """
        if not task.get(CONTINUES_SESSION):
            return ()
        session = await self._sessions.touch(task["tenant_id"], task["session_id"], asked_at=task["created_at"])
        if session is None:
            return ()
        await self._keep_messages(session)
        if not self._limits.context:
            return ()
        memory, turns = session.memory, await self._list_turns(session, task)
        if falling_out := turns_to_condense(memory, turns, self._limits):
            memory = await self._extend(session, falling_out, condense) or memory
        remaining = [turn for turn in turns if memory is None or turn.position > memory.covers]
        return history_of(memory, remaining, self._limits)

    async def peek(self, task: Mapping[str, Any]) -> tuple[Message, ...]:
        """What `recall` would give, as far as it is known: nothing is prolonged, condensed or written."""
        if not task.get(CONTINUES_SESSION) or not self._limits.context:
            return ()
        session = await self._sessions.find(task["tenant_id"], task["session_id"])
        if session is None:
            return ()
        return history_of(session.memory, await self._list_turns(session, task), self._limits)

    async def _list_turns(self, session: Session, task: Mapping[str, Any]) -> list[Turn]:
        return await self._tasks.list_turns(
            session.tenant_id,
            session.id,
            since=session.begins_at,
            after=session.memory.covers if session.memory else None,
            before=Position(task["created_at"], task["_id"]),
        )

    async def _extend(self, session: Session, turns: Sequence[Turn], condense: Condense) -> Memory | None:
        """The new memory, for this task also if it could not be stored; None when there is none."""
        token = new_token()
        try:
            if not await self._sessions.claim_summary(session, token=token, until=self._clock() + self._patience):
                return None
            memory = await condense(session.memory, turns)
            if not await self._sessions.remember(session, memory, token=token):
                log.info("session.summary_overtaken")
        except OrchestratorError as error:
            # The claim stays, so that not every task of the session tries the same in vain.
            log.warning("session.not_summarised", error_type=error.code, turns=len(turns))
            return None
        return memory

    async def _keep_messages(self, session: Session) -> None:
        """Messages live as long as their session; prolonged by a little more, this is not to be done for each task."""
        if session.messages_kept_until >= session.expires_at:
            return
        until = await self._messages.prolong(session.tenant_id, session.id, session.expires_at, since=session.begins_at)
        await self._sessions.note_messages_kept(session, until)
