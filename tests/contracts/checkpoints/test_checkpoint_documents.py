"""How a thread is kept: fenced, and bounded in cost, in size and in time."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import bson
import pytest

from app.checkpoints.models import INDEXES, Ledger, ThreadKey
from app.database.documents import Database
from app.database.errors import StoreUnavailable
from app.errors import LeaseLost
from tests.checkpoint_builders import (
    CONFIG,
    MEBIBYTE,
    THREAD,
    TTL,
    Attempts,
    Gate,
    NodeFailed,
    Script,
    a_chain,
    a_fan,
    blobs_in,
    fail,
    stored,
    wrote,
)
from tests.contracts.checkpoints.conftest import Commands
from tests.job_builders import NOON, OTHER_TENANT, TENANT, FakeClock


async def test_a_stalled_attempt_cannot_write_over_the_one_that_replaced_it(
    attempts: Attempts, database: Database
) -> None:
    gate = Gate()
    script = Script(does={"second": gate})
    graph = a_chain(script, ["first", "second", "third"])
    stalled = asyncio.create_task(attempts.start(graph, 1))
    await gate.entered.wait()
    script.does.clear()
    answer = await attempts.run(graph, 2)
    finished = await stored(database)

    gate.may_go.set()
    with pytest.raises(LeaseLost):
        await stalled

    assert await stored(database) == finished
    assert await attempts.run(graph, 3) == answer


async def test_loading_is_enough_to_lock_out_an_earlier_attempt(attempts: Attempts) -> None:
    gate = Gate()
    graph = a_chain(Script(does={"second": gate}), ["first", "second"])
    stalled = asyncio.create_task(attempts.start(graph, 1))
    await gate.entered.wait()

    await attempts.saver(2).aget_tuple(CONFIG)
    gate.may_go.set()

    with pytest.raises(LeaseLost):
        await stalled


async def test_an_attempt_that_was_replaced_before_it_saved_anything_saves_nothing(
    attempts: Attempts, database: Database
) -> None:
    gate = Gate()
    script = Script(does={"first": gate})
    graph = a_chain(script, ["first", "second"])
    stalled = asyncio.create_task(
        attempts.run(graph, 1, given={"task": "x"}, saver=attempts.saver(1, defers_input=True))
    )
    await gate.entered.wait()
    script.does = {"second": fail}
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 2)
    left = await stored(database)

    gate.may_go.set()
    with pytest.raises(LeaseLost):
        await stalled

    assert await stored(database) == left


async def test_an_attempt_overtaken_by_an_earlier_one_takes_the_thread_back(attempts: Attempts) -> None:
    later = attempts.saver(2)
    await later.aget_tuple(CONFIG)
    graph = a_chain(Script(), ["first", "second"])
    await attempts.start(graph, 1)

    state = await attempts.run(graph, 2, given={"task": "y"}, saver=later)

    assert state == {"task": "y", "done": ["first", "second"]}
    with pytest.raises(LeaseLost):
        await attempts.start(graph, 1)


async def test_a_tenant_cannot_reach_another_tenants_thread(attempts: Attempts, database: Database) -> None:
    graph = a_chain(Script(), ["first"])
    await attempts.start(graph, 1)
    other = Attempts(attempts.checkpoints, tenant_id=OTHER_TENANT)

    assert await other.saver(9).aget_tuple(CONFIG) is None
    await other.saver(9).adelete_thread(THREAD)
    await other.start(graph, 1)

    assert sorted(await database["checkpoints"].distinct("tenant_id")) == ["acme", OTHER_TENANT]


# --- what it costs


@pytest.mark.parametrize("database", ["embedded"], indirect=True)
async def test_each_finished_node_costs_one_operation_and_the_input_none(
    attempts: Attempts, commands: Commands
) -> None:
    graph = a_chain(Script(), ["first", "second", "third"])
    new = attempts.saver(1, defers_input=True, is_new=True)

    await attempts.run(graph, 1, given={"task": "x"}, saver=new)
    first = list(commands.names)
    await attempts.run(graph, 2)

    assert first == ["update"] * 3
    assert commands.names[3:] == ["findAndModify"]


@pytest.mark.parametrize("database", ["embedded"], indirect=True)
async def test_nodes_that_finish_together_are_saved_together(attempts: Attempts, commands: Commands) -> None:
    names = [f"worker {number}" for number in range(20)]

    await attempts.run(a_fan(Script(), names), 1, given={"task": "x"}, saver=attempts.saver(1, defers_input=True))

    # The load, the plan, all workers, the join.
    assert commands.names == ["findAndModify", "update", "update", "update"]


async def test_a_graph_without_parallel_nodes_does_not_wait_for_any(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.checkpoints.thread.GATHERING_PAUSE", 3600)

    async with asyncio.timeout(20):
        state = await attempts.start(a_chain(Script(), ["first", "second"]), 1)

    assert state["done"] == ["first", "second"]


async def test_an_attempt_in_which_no_node_finished_leaves_nothing(attempts: Attempts, database: Database) -> None:
    graph = a_chain(Script(does={"first": fail}), ["first"])

    with pytest.raises(NodeFailed):
        await attempts.run(graph, 1, given={"task": "x"}, saver=attempts.saver(1, defers_input=True))

    assert await database["checkpoints"].count_documents({}) == 0


# --- how long it is kept


async def test_what_is_saved_expires_a_while_after_the_last_time(
    attempts: Attempts, database: Database, clock: FakeClock
) -> None:
    async def wait_an_hour() -> None:
        clock.advance(timedelta(hours=1))

    await attempts.start(a_chain(Script(does={"second": wait_an_hour}), ["first", "second"]), 1)

    found = await stored(database)
    assert found["expires_at"] == NOON + timedelta(hours=1) + TTL
    assert "erase_at" not in found


def test_the_store_is_told_to_remove_what_has_expired() -> None:
    (expiry,) = [index for index in INDEXES if index.options.get("expireAfterSeconds") == 0]

    assert expiry.keys == (("expires_at", 1),)


# --- how large it may be


async def test_a_state_over_a_mebibyte_moves_to_the_artifact_store_and_is_found_there(
    attempts: Attempts, database: Database, tmp_path: Path
) -> None:
    script = Script(does={"first": wrote(3 * MEBIBYTE), "second": fail})
    graph = a_chain(script, ["first", "second"])
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    found, spilled = await stored(database), blobs_in(tmp_path)
    script.does.clear()

    state = await attempts.run(graph, 2)

    assert found["blobs"] == [path.name for path in spilled]
    assert len(found["blobs"]) == 1
    assert len(state["big"]) == 3 * MEBIBYTE // 2
    assert script.calls == {"first": 1, "second": 2}


async def test_what_parallel_nodes_write_does_not_add_up_to_a_document_that_is_too_large(
    attempts: Attempts, database: Database
) -> None:
    async def write() -> dict[str, list[str]]:
        return {"done": ["ä" * (MEBIBYTE // 3)]}

    names = [f"worker {number}" for number in range(30)]
    script = Script(does={**dict.fromkeys(names, write), "slow": fail})
    graph = a_fan(script, [*names, "slow"])
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    size = len(bson.encode(await stored(database)))
    script.does.clear()

    state = await attempts.run(graph, 2)

    assert size < 1.1 * MEBIBYTE
    assert sum(map(len, state["done"])) > 10 * MEBIBYTE
    assert script.calls["worker 7"] == 1


async def test_a_blob_goes_with_the_checkpoint_that_named_it(
    attempts: Attempts, database: Database, tmp_path: Path
) -> None:
    async def write_little() -> dict[str, str]:
        return {"big": ""}

    script = Script(does={"first": wrote(2 * MEBIBYTE), "second": wrote(4 * MEBIBYTE), "third": write_little})
    await attempts.start(a_chain(script, ["first", "second"]), 1)
    between = len(blobs_in(tmp_path))

    await attempts.start(a_chain(script, ["first", "second", "third"]), 2)

    found = await stored(database)
    assert between == 1
    assert blobs_in(tmp_path) == []
    assert (found["blobs"], "erase_at" in found, "expires_at" in found) == ([], False, True)


async def test_a_value_that_was_spilled_in_vain_leaves_no_blob(
    attempts: Attempts, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pending write is spilled at once, although the checkpoint that has it in it is about to come.
    monkeypatch.setattr("app.checkpoints.thread.GATHERING_PAUSE", 0)
    script = Script(does={"first": wrote(2 * MEBIBYTE)})

    await attempts.start(a_chain(script, ["first", "second"]), 1)

    assert [path.name for path in blobs_in(tmp_path)] == (await stored(database))["blobs"]


async def test_a_blob_goes_with_its_thread_and_takes_no_equal_one_along(attempts: Attempts, tmp_path: Path) -> None:
    graph = a_fan(Script(does={"large": wrote(2 * MEBIBYTE), "small": fail}), ["large", "small"])
    other = Attempts(attempts.checkpoints, thread_id="task-2/0/TestAgent")
    for one in (attempts, other):
        with pytest.raises(NodeFailed):
            await one.start(graph, 1)
    before = len(blobs_in(tmp_path))

    await attempts.saver(2).adelete_thread(THREAD)

    assert (before, len(blobs_in(tmp_path))) == (2, 1)
    assert await other.saver(2).aget_tuple({"configurable": {"thread_id": other.thread_id}}) is not None


async def test_an_expired_thread_is_removed_with_its_blobs(
    attempts: Attempts, database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    await attempts.start(a_chain(Script(does={"first": wrote(2 * MEBIBYTE)}), ["first"]), 1)
    found = await stored(database)
    too_early = await attempts.checkpoints.remove_expired()

    clock.advance(TTL)
    removed = await attempts.checkpoints.remove_expired()

    # The TTL index must leave it to this chore.
    assert "expires_at" not in found
    assert (too_early, removed) == (0, 1)
    assert blobs_in(tmp_path) == []
    assert await database["checkpoints"].count_documents({}) == 0


# --- when the store does not answer


async def test_a_node_whose_state_cannot_be_saved_ends_the_attempt(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script()

    async def lose_the_store() -> None:
        async def update_one(*_: Any, **__: Any) -> bool:
            raise StoreUnavailable("gone")

        monkeypatch.setattr("app.database.documents.TenantDocuments.update_one", update_one)

    script.does["second"] = lose_the_store
    graph = a_chain(script, ["first", "second", "third"])

    with pytest.raises(StoreUnavailable):
        await attempts.start(graph, 1)
    monkeypatch.undo()
    script.does.clear()
    state = await attempts.run(graph, 2)

    assert script.calls == {"first": 1, "second": 2, "third": 1}
    assert state["done"] == ["first", "second", "third"]


async def test_what_could_not_be_written_is_written_the_next_time(
    attempts: Attempts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def update_one(*_: Any, **__: Any) -> bool:
        raise StoreUnavailable("gone")

    thread = attempts.checkpoints.open_thread(ThreadKey(THREAD, TENANT, 1))
    await thread.put("", ids=("id-1", None), checkpoint=("null", b""), metadata=("null", b""))
    with monkeypatch.context() as patched:
        patched.setattr("app.database.documents.TenantDocuments.update_one", update_one)
        with pytest.raises(StoreUnavailable):
            await thread.save()

    await thread.save()

    assert [space["id"] for space in (await stored(database))["spaces"].values()] == ["id-1"]


# --- what was spent


async def test_what_an_attempt_spent_is_handed_to_the_next_one_unless_it_was_counted(attempts: Attempts) -> None:
    carried: list[Any] = []
    graph = a_chain(Script(), ["first"])
    await attempts.run(
        graph, 3, given={"task": "x"}, saver=attempts.saver(3, ledger=Ledger(lambda: {"calls": 1}, carried.append))
    )

    for fence, counted_to in ((4, (0, 0)), (5, (2, 9)), (6, (3, 1)), (7, (4, 1))):
        ledger = Ledger(dict, carried.append, counted_to=counted_to)
        await attempts.saver(fence, ledger=ledger).aget_tuple(CONFIG)

    assert carried == [{"calls": 1}, {"calls": 1}]
