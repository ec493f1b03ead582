"""Attempts that perform effects and a receiver that counts what really happened."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Documents
from app.effects.ledger import EffectLedger
from app.effects.models import Effect
from app.effects.performer import TaskEffects
from tests.job_builders import TENANT, FakeClock

LIFETIME = timedelta(days=90)
TASK_ID = "11111111-2222-4333-8444-555555555555"
MAIL = {"to": "ada@example.com", "subject": "Hello"}


async def _held() -> None:
    return None


def a_ledger(documents: Documents, *, clock: Clock | None = None) -> EffectLedger:
    return EffectLedger(documents, clock=clock or FakeClock(), lifetime=LIFETIME)


def an_attempt(
    ledger: EffectLedger,
    *,
    fence: int = 1,
    tenant_id: str = TENANT,
    task_id: str = TASK_ID,
    confirm: Callable[[], Awaitable[None]] = _held,
) -> TaskEffects:
    return TaskEffects(
        ledger,
        tenant_id=tenant_id,
        task_id=task_id,
        attempt=fence,
        fence=fence,
        lease=f"token-{fence}",
        confirm=confirm,
    )


@dataclass
class Receiver:
    """Takes effects. One that deduplicates lets each key happen once and repeats its first answer."""

    deduplicates: bool = True
    keys: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    was_called: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def happened(self) -> int:
        return len(set(self.keys)) if self.deduplicates else len(self.keys)

    async def take(self, key: str) -> Any:
        self.keys.append(key)
        answer = {"message_id": f"m-{len(self.keys)}"}
        if self.deduplicates:
            answer = self.answers.setdefault(key, answer)
        self.was_called.set()
        await asyncio.sleep(0)
        return answer

    async def take_and_hang(self, key: str) -> Any:
        await self.take(key)
        await asyncio.Event().wait()


async def effects_of(ledger: EffectLedger, *, tenant_id: str = TENANT) -> list[Effect]:
    return await ledger.list_of_task(tenant_id, TASK_ID, limit=100)


async def the_effect(ledger: EffectLedger) -> Effect:
    (effect,) = await effects_of(ledger)
    return effect


async def dies_while_firing(ledger: EffectLedger, receiver: Receiver, *, fence: int = 1, **options: Any) -> None:
    """An attempt that ends with the request on its way, as a killed worker does."""
    work = asyncio.create_task(an_attempt(ledger, fence=fence).perform("mail", MAIL, receiver.take_and_hang, **options))
    await receiver.was_called.wait()
    receiver.was_called.clear()
    work.cancel()
    await asyncio.wait({work})
