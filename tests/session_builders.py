"""Sessions for tests: tasks that were answered, and a memory of them that condenses as it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Database, Documents
from app.errors import OrchestratorError
from app.llm.messages import Message
from app.sessions.memory import SessionMemory
from app.sessions.messages import COLLECTION as MESSAGES
from app.sessions.messages import MessageLog, assistant_message, user_message
from app.sessions.models import COLLECTION, CONTINUES_SESSION, Memory, Turn
from app.sessions.repository import SessionRepository
from app.sessions.service import SessionService
from app.sessions.tasks import SessionTasks
from app.sessions.window import Limits
from tests.job_builders import SECOND, TENANT, FakeClock

Json = dict[str, Any]
LIFETIME = timedelta(days=30)
PATIENCE = 120 * SECOND
ROOMY = Limits(context=4000, condensed=1000)


def a_memory(database: Database, *, clock: Clock, limits: Limits = ROOMY) -> SessionMemory:
    return SessionMemory(
        SessionRepository(Documents(database[COLLECTION]), lifetime=LIFETIME, clock=clock),
        SessionTasks(Documents(database["tasks"])),
        MessageLog(Documents(database[MESSAGES]), lifetime=LIFETIME),
        limits=limits,
        patience=PATIENCE,
        clock=clock,
    )


@dataclass
class Condenser:
    """Condenses turns to their questions; fails when it is told to."""

    failure: OrchestratorError | None = None
    calls: list[list[str]] = field(default_factory=list)

    async def __call__(self, memory: Memory | None, turns: Sequence[Turn]) -> Memory:
        self.calls.append([turn.question for turn in turns])
        if self.failure is not None:
            raise self.failure
        facts = (*(memory.facts if memory else ()), *(turn.question for turn in turns))
        return Memory("What was asked:", facts, turns[-1].position)


@dataclass
class Talk:
    """The tasks of one session, a minute after each other."""

    database: Database
    clock: FakeClock
    limits: Limits = ROOMY
    session_id: str = "s"
    tenant_id: str = TENANT
    condenser: Condenser = field(default_factory=Condenser)
    asked: int = 0

    @property
    def memory(self) -> SessionMemory:
        return a_memory(self.database, clock=self.clock, limits=self.limits)

    @property
    def messages(self) -> MessageLog:
        return MessageLog(Documents(self.database[MESSAGES]), lifetime=LIFETIME)

    @property
    def sessions(self) -> SessionRepository:
        return SessionRepository(Documents(self.database[COLLECTION]), lifetime=LIFETIME, clock=self.clock)

    @property
    def service(self) -> SessionService:
        return SessionService(self.sessions, SessionTasks(Documents(self.database["tasks"])), self.messages)

    async def ask(self, question: str = "Next?", *, status: str = "processing", named: bool = True) -> Json:
        """A task that was accepted and is not answered yet."""
        self.asked += 1
        self.clock.advance(60 * SECOND)
        task: Json = {
            "_id": f"task-{self.tenant_id}-{self.session_id}-{self.asked:03d}",
            "tenant_id": self.tenant_id,
            "session_id": self.session_id,
            CONTINUES_SESSION: named,
            "input_text": question,
            "status": status,
            "created_at": self.clock(),
            "updated_at": self.clock(),
            "cost": {"total_tokens": 10, "usd_estimate": 0.25},
            "result": None,
        }
        await self.database["tasks"].insert_one(dict(task))
        await self.messages.write([user_message(task)])
        return task

    async def answer(self, task: Json, answer: str) -> None:
        self.clock.advance(SECOND)
        change = {"status": "completed", "updated_at": self.clock(), "result": {"raw_output": answer}}
        await self.database["tasks"].update_one({"_id": task["_id"]}, {"$set": change})
        await self.messages.write([assistant_message(task, answer, self.clock())])

    async def turn(self, question: str, answer: str = "An answer.", *, named: bool = True) -> Json:
        task = await self.ask(question, named=named)
        await self.answer(task, answer)
        return task

    async def recall(self, task: Json | None = None) -> tuple[Message, ...]:
        """What the next task is told, or this one."""
        return await self.memory.recall(task or await self.ask(), self.condenser)


def texts(history: Sequence[Message]) -> list[str]:
    return [message.content for message in history]
