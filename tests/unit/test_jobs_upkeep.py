"""One process at a time does the chores, and the others stand by."""

from app.database.documents import Database, Documents
from app.jobs.lock import StoreLock
from app.jobs.upkeep import Seldom, Upkeep
from tests.job_builders import LEASE, SECOND, FakeClock


async def test_one_of_many_processes_holds_the_lock_until_it_stops_renewing(
    database: Database, clock: FakeClock
) -> None:
    locks = [StoreLock(Documents(database["locks"]), "upkeep", holder=name, lease=LEASE, clock=clock) for name in "abc"]

    at_first = [await lock.acquire() for lock in locks]
    clock.advance(LEASE)
    later = [await lock.acquire() for lock in reversed(locks)]
    await locks[2].release()

    assert at_first == [True, False, False]
    assert later == [True, False, False]
    assert await locks[0].acquire()


async def test_while_it_is_the_turn_of_one_process_the_others_only_stand_in(
    database: Database, clock: FakeClock
) -> None:
    done: list[str] = []

    def upkeep_of(name: str) -> Upkeep:
        async def chore() -> None:
            done.append(f"{name} sweeps")

        async def stand_in() -> None:
            done.append(f"{name} stands in")

        lock = StoreLock(Documents(database["locks"]), "upkeep", holder=name, lease=LEASE, clock=clock)
        return Upkeep(lock, [chore, chore], stand_in=stand_in, interval=SECOND)

    first, second = upkeep_of("first"), upkeep_of("second")
    turns = [await first.run_once(), await second.run_once()]

    assert turns == [True, False]
    assert done == ["first sweeps", "first sweeps", "second stands in"]


async def test_a_process_that_a_chore_held_up_looks_whether_it_is_still_its_turn(
    database: Database, clock: FakeClock
) -> None:
    done: list[str] = []
    locks = [StoreLock(Documents(database["locks"]), "upkeep", holder=name, lease=LEASE, clock=clock) for name in "ab"]

    async def be_held_up() -> None:
        clock.advance(LEASE + SECOND)
        await locks[1].acquire()

    async def note(what: str) -> None:
        done.append(what)

    upkeep = Upkeep(
        locks[0],
        [be_held_up, lambda: note("sweeps")],
        stand_in=lambda: note("stands in"),
        interval=SECOND,
        monotonic=lambda: clock().timestamp(),
    )

    assert await upkeep.run_once() is False
    assert done == ["stands in"]


async def test_what_need_not_be_done_in_every_round_is_done_again_after_its_time() -> None:
    done, now = list[float](), [0.0]

    async def chore() -> None:
        done.append(now[0])

    seldom = Seldom(chore, every=3 * SECOND, monotonic=lambda: now[0])
    for now[0] in (0.0, 1.0, 2.9, 3.0, 4.0, 9.0):
        await seldom()

    assert done == [0.0, 3.0, 9.0]
