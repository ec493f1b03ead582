"""However an attempt dies, stalls or is stopped while it performs an effect, the effect happens once."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from app.database.documents import Database, Documents
from app.database.errors import StoreUnavailable
from app.effects.errors import EffectInterrupted, EffectUncertain
from app.effects.ledger import COLLECTION, EffectLedger
from app.effects.models import EffectStatus
from app.errors import LeaseLost
from tests.effect_builders import MAIL, TASK_ID, Receiver, a_ledger, an_attempt
from tests.fakes.fate import Collection, Crash, Fate
from tests.fakes.mongo import fake_mongo
from tests.job_builders import TENANT


class KilledWhileFiring(BaseException):
    """Stands for the process dying around the request; no ``except Exception`` may survive that."""


@dataclass
class World:
    """One task with one effect; ``fence`` is that of the attempt which holds its lease."""

    receiver: Receiver
    database: Database = field(default_factory=lambda: fake_mongo()["tests"])
    fence: int = 0

    @property
    def ledger(self) -> EffectLedger:
        return a_ledger(Documents(self.database[COLLECTION]))

    async def perform(self, fate: Fate | None = None, *, killed: str = "") -> Any:
        """One attempt at it, claimed now."""
        self.fence += 1
        return await self._attempt(self.fence, fate or Fate(), killed)

    async def _attempt(self, fence: int, fate: Fate, killed: str) -> Any:
        async def confirm() -> None:
            if self.fence != fence:
                raise LeaseLost("another attempt has it")

        async def fire(key: str) -> Any:
            if killed == "before":
                raise KilledWhileFiring
            answer = await self.receiver.take(key)
            if killed == "after":
                raise KilledWhileFiring
            return answer

        ledger = a_ledger(Documents(cast("Any", Collection(self.database[COLLECTION], fate))))
        attempt = an_attempt(ledger, fence=fence, confirm=confirm)
        return await attempt.perform("mail", MAIL, fire, receiver_deduplicates=self.receiver.deduplicates)

    async def end(self) -> None:
        """The next attempt, and when it cannot know, a person who looks and the attempt after that."""
        try:
            await self.perform()
        except EffectUncertain:
            (effect,) = await self.ledger.list_of_task(TENANT, TASK_ID, limit=2)
            await self.ledger.resolve(TENANT, effect, happened=self.receiver.happened > 0, by="key-1")
            await self.perform()


DEATHS = [
    *((Fate(dies_at=number, half=half), "") for number in (1, 2) for half in ("before", "after")),
    (Fate(), "before"),
    (Fate(), "after"),
]


@pytest.mark.parametrize("deduplicates", [True, False], ids=["deduplicates", "does not"])
@pytest.mark.parametrize(("death", "killed"), DEATHS, ids=range(len(DEATHS)))
@pytest.mark.parametrize("second", range(len(DEATHS) + 1))
async def test_after_a_crash_at_any_point_and_another_in_the_next_attempt_it_has_happened_once(
    deduplicates: bool, death: Fate, killed: str, second: int
) -> None:
    world = World(Receiver(deduplicates))
    with pytest.raises((Crash, KilledWhileFiring)):
        await world.perform(Fate(dies_at=death.dies_at, half=death.half), killed=killed)
    if second < len(DEATHS):
        again, killed_again = DEATHS[second]
        with suppress(Crash, KilledWhileFiring, EffectUncertain):
            await world.perform(Fate(dies_at=again.dies_at, half=again.half), killed=killed_again)

    await world.end()

    assert world.receiver.happened == 1
    assert (await world.perform()).is_replay


async def test_every_point_is_one_of_the_deaths() -> None:
    fate = Fate()

    await World(Receiver()).perform(fate)

    # The insert before and the update after; a third would have to be added above.
    assert fate.writes == 2


@pytest.mark.parametrize("deduplicates", [True, False], ids=["deduplicates", "does not"])
@pytest.mark.parametrize("stalls_at", range(1, 3))
async def test_an_attempt_that_wakes_after_its_replacement_makes_nothing_happen_twice(
    deduplicates: bool, stalls_at: int
) -> None:
    world, stalled = World(Receiver(deduplicates)), Fate(stalls_at=stalls_at)
    late = asyncio.create_task(world.perform(stalled))
    await stalled.stalled.wait()
    replaced = await asyncio.gather(world.perform(), return_exceptions=True)
    stalled.woken.set()

    ended = await asyncio.gather(late, return_exceptions=True)

    assert world.receiver.happened == 1
    for end in (*replaced, *ended):
        assert not isinstance(end, BaseException) or isinstance(end, EffectUncertain | LeaseLost)


@pytest.mark.parametrize("seed", range(60))
async def test_attempts_that_overlap_and_die_anyhow_never_let_it_happen_twice(seed: int) -> None:
    dice = random.Random(seed)
    world = World(Receiver(deduplicates=dice.random() < 0.5))

    def one() -> Any:
        fate = Fate(dice=dice, dies_at=dice.randrange(1, 8), half=dice.choice(["before", "after"]))
        return world.perform(fate, killed=dice.choice(["", "", "before", "after"]))

    await asyncio.gather(*(one() for _ in range(6)), return_exceptions=True)
    await world.end()

    assert world.receiver.happened == 1


async def test_what_happened_is_written_down_although_the_attempt_is_stopped() -> None:
    # given an attempt whose last write is on its way when it is cancelled
    world, fate = World(Receiver(deduplicates=False)), Fate(stalls_at=2)
    attempt = asyncio.create_task(world.perform(fate))
    await fate.stalled.wait()

    attempt.cancel()
    asyncio.get_running_loop().call_soon(fate.woken.set)
    await asyncio.wait({attempt})

    (effect,) = await world.ledger.list_of_task(TENANT, TASK_ID, limit=2)
    assert attempt.cancelled()
    assert effect.status is EffectStatus.DONE


class Outage(Collection):
    """Refuses the first ``refusals`` updates as a store does that is away for a moment."""

    def __init__(self, inner: Any, *, refusals: int) -> None:
        super().__init__(inner, Fate())
        self.refusals = refusals

    async def update_one(self, *args: Any, **options: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("away")
        return await self._inner.update_one(*args, **options)


async def test_what_happened_is_written_down_as_soon_as_the_store_is_back() -> None:
    world, receiver = World(Receiver()), Receiver(deduplicates=False)
    collection = Outage(world.database[COLLECTION], refusals=2)
    attempt = an_attempt(a_ledger(Documents(cast("Any", collection))))

    performed = await attempt.perform("mail", MAIL, receiver.take)

    (effect,) = await world.ledger.list_of_task(TENANT, TASK_ID, limit=2)
    assert (effect.status, effect.key, collection.refusals) == ("done", performed.key, 0)


async def test_a_write_whose_answer_was_lost_is_repeated_without_harm() -> None:
    world = World(Receiver())

    class Deaf(Outage):
        async def update_one(self, *args: Any, **options: Any) -> Any:
            answer = await self._inner.update_one(*args, **options)
            if self.refusals:
                self.refusals -= 1
                raise StoreUnavailable("the answer was lost")
            return answer

    collection = Deaf(world.database[COLLECTION], refusals=1)

    performed = await an_attempt(a_ledger(Documents(cast("Any", collection)))).perform(
        "mail", MAIL, world.receiver.take
    )

    assert performed.result == {"message_id": "m-1"}
    assert world.receiver.happened == 1


async def test_an_unavailable_service_behind_the_receiver_is_no_proof_of_anything() -> None:
    async def fire(key: str) -> Any:
        raise StoreUnavailable("some store of the tool")

    with pytest.raises(EffectInterrupted) as raised:
        await an_attempt(World(Receiver()).ledger).perform("mail", MAIL, fire, receiver_deduplicates=True)

    assert raised.value.retryable
    assert raised.value.retry_after is not None
