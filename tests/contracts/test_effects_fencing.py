"""Attempts at the same time: one of them fires, and a stale one speaks for nobody."""

import asyncio
from typing import Any

import pytest

from app.database.documents import Documents
from app.effects.errors import EffectRefused, EffectUncertain
from app.effects.ledger import COLLECTION, EffectLedger
from app.effects.models import EffectStatus
from app.errors import LeaseLost
from tests.contracts.store_outcomes import Database
from tests.effect_builders import MAIL, Receiver, a_ledger, an_attempt, dies_while_firing, effects_of, the_effect


@pytest.fixture
def ledger(db: Database) -> EffectLedger:
    return a_ledger(Documents(db[COLLECTION]))


async def test_of_two_equal_effects_at_once_in_one_attempt_one_is_fired(ledger: EffectLedger) -> None:
    receiver, attempt = Receiver(deduplicates=False), an_attempt(ledger)

    performed = await asyncio.gather(*(attempt.perform("mail", MAIL, receiver.take) for _ in range(5)))

    assert receiver.happened == 1
    assert sorted(one.is_replay for one in performed) == [False, True, True, True, True]
    assert {one.result["message_id"] for one in performed} == {"m-1"}


async def test_of_two_attempts_at_once_only_one_fires(ledger: EffectLedger) -> None:
    receiver = Receiver(deduplicates=False)
    attempts = [an_attempt(ledger, fence=fence) for fence in (1, 2)]

    ended = await asyncio.gather(
        *(attempt.perform("mail", MAIL, receiver.take) for attempt in attempts), return_exceptions=True
    )

    assert receiver.happened == 1
    assert all(not isinstance(end, Exception) or isinstance(end, EffectUncertain | LeaseLost) for end in ended)


async def test_an_attempt_that_was_overtaken_does_not_take_back_what_is_in_doubt(ledger: EffectLedger) -> None:
    receiver = Receiver()
    await dies_while_firing(ledger, receiver)
    attempts = [an_attempt(ledger, fence=fence) for fence in (3, 2)]

    later, _ = await asyncio.gather(
        *(attempt.perform("mail", MAIL, receiver.take, receiver_deduplicates=True) for attempt in attempts),
        return_exceptions=True,
    )

    effect = await the_effect(ledger)
    assert not isinstance(later, BaseException)
    assert (effect.status, effect.fence, receiver.happened) == ("done", 3, 1)


async def test_a_stalled_attempt_cannot_mark_what_its_replacement_has_taken_over(ledger: EffectLedger) -> None:
    # given an attempt that stalls with its request on the way, and a replacement that does the same
    receiver, woken = Receiver(), asyncio.Event()

    async def stall_and_be_refused(key: str) -> Any:
        await receiver.take(key)
        await woken.wait()
        raise EffectRefused("the receiver says no")

    stalled = asyncio.create_task(an_attempt(ledger, fence=1).perform("mail", MAIL, stall_and_be_refused))
    await receiver.was_called.wait()
    receiver.was_called.clear()
    await dies_while_firing(ledger, receiver, fence=2, receiver_deduplicates=True)

    woken.set()
    with pytest.raises(LeaseLost):
        await stalled

    assert (await the_effect(ledger)).status is EffectStatus.STARTED


async def test_a_stalled_attempt_does_not_fire_what_a_later_one_performs(ledger: EffectLedger) -> None:
    receiver = Receiver()
    await dies_while_firing(ledger, receiver, fence=2)

    with pytest.raises(LeaseLost):
        await an_attempt(ledger, fence=1).perform("mail", MAIL, receiver.take, receiver_deduplicates=True)

    assert len(receiver.keys) == 1


async def test_an_attempt_without_its_lease_fires_nothing(ledger: EffectLedger) -> None:
    async def lost() -> None:
        raise LeaseLost("another worker has it")

    receiver = Receiver()

    with pytest.raises(LeaseLost):
        await an_attempt(ledger, confirm=lost).perform("mail", MAIL, receiver.take)

    assert receiver.keys == []
    assert await effects_of(ledger) == []
