"""LangGraph over our saver: what it asks of a saver, on the fake and on the embedded store."""

import asyncio
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from app.database.documents import Database
from app.errors import LeaseLost
from tests.checkpoint_builders import (
    CONFIG,
    THREAD,
    Attempts,
    Gate,
    NodeFailed,
    Script,
    State,
    a_chain,
    a_fan,
    fail,
    stored,
)


async def has_pending_writes(database: Database) -> None:
    async with asyncio.timeout(10):
        while True:
            if any(space["writes"] for space in (await stored(database))["spaces"].values()):
                return
            await asyncio.sleep(0.01)


async def test_an_attempt_goes_on_behind_the_last_finished_node(attempts: Attempts) -> None:
    script = Script(does={"third": fail})
    graph = a_chain(script, ["first", "second", "third", "fourth"])
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    script.does.clear()

    state = await attempts.run(graph, 2)

    assert state == {"task": "x", "done": ["first", "second", "third", "fourth"]}
    assert script.calls == {"first": 1, "second": 1, "third": 2, "fourth": 1}


async def test_a_node_starts_only_when_the_one_before_it_is_durable(attempts: Attempts, database: Database) -> None:
    seen: list[Any] = []

    async def look() -> None:
        (space,) = (await stored(database))["spaces"].values()
        seen.append(attempts.saver(1).serde.loads_typed((space["checkpoint"]["kind"], space["checkpoint"]["data"])))

    await attempts.start(a_chain(Script(does={"second": look}), ["first", "second"]), 1)

    assert seen[0]["channel_values"]["done"] == ["first"]


async def test_a_finished_thread_answers_again_without_doing_anything(attempts: Attempts) -> None:
    script = Script()
    graph = a_chain(script, ["first", "second"])
    answer = await attempts.start(graph, 1)

    again = await attempts.run(graph, 2)

    assert again == answer
    assert script.calls == {"first": 1, "second": 1}


async def test_of_parallel_nodes_only_those_that_did_not_finish_are_repeated(attempts: Attempts) -> None:
    script = Script(does={"right": fail})
    graph = a_fan(script, ["left", "middle", "right"])
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    script.does.clear()

    state = await attempts.run(graph, 2)

    assert state["done"] == ["plan", "left", "middle", "right", "join"]
    assert script.calls == {"plan": 1, "left": 1, "middle": 1, "right": 2, "join": 1}


async def test_a_node_is_durable_while_another_of_its_step_still_runs(attempts: Attempts, database: Database) -> None:
    gate = Gate()
    script = Script(does={"slow": gate})
    graph = a_fan(script, ["quick", "slow"])
    stalled = asyncio.create_task(attempts.start(graph, 1))
    await gate.entered.wait()
    await has_pending_writes(database)
    script.does.clear()

    state = await attempts.run(graph, 2)
    gate.may_go.set()
    with pytest.raises(LeaseLost):
        await stalled

    assert state["done"] == ["plan", "quick", "slow", "join"]
    assert script.calls["quick"] == 1


async def test_tasks_that_a_node_sent_are_resumed_one_by_one(attempts: Attempts) -> None:
    script = Script(does={"work": fail})
    graph = StateGraph(State)
    graph.add_node("plan", script.node("plan"))
    graph.add_node("work", script.node("work"))
    graph.add_node("other", script.node("other"))
    graph.add_edge(START, "plan")
    targets = [Send("work", {"task": "a"}), Send("other", {"task": "b"})]
    graph.add_conditional_edges("plan", lambda _: targets, {"work": "work", "other": "other"})
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    script.does.clear()

    state = await attempts.run(graph, 2)

    assert state["done"] == ["plan", "work", "other"]
    assert script.calls == {"plan": 1, "work": 2, "other": 1}


async def test_an_interrupt_is_answered_by_another_process(attempts: Attempts) -> None:
    script = Script()
    graph = a_chain(script, ["first"])
    graph.add_node("ask", lambda state: {"done": [interrupt({"about": state["task"]})]})
    graph.add_edge("first", "ask")
    asked = await attempts.start(graph, 1)

    state = await attempts.run(graph, 2, given=Command(resume="approved"))

    assert asked["__interrupt__"][0].value == {"about": "x"}
    assert state["done"] == ["first", "approved"]
    assert script.calls == {"first": 1}


async def test_an_interrupt_beside_a_finished_node_does_not_repeat_that(attempts: Attempts) -> None:
    script = Script()
    graph = a_fan(script, ["left"])
    graph.add_node("ask", lambda _: {"done": [f"{interrupt('one')} and {interrupt('two')}"]})
    graph.add_edge("plan", "ask")
    await attempts.start(graph, 1)

    asked = await attempts.run(graph, 2, given=Command(resume="yes"))
    state = await attempts.run(graph, 3, given=Command(resume="no"))

    assert asked["__interrupt__"][0].value == "two"
    assert "yes and no" in state["done"]
    assert script.calls["left"] == 1


async def test_a_graph_that_stops_before_a_node_keeps_its_input(attempts: Attempts) -> None:
    script = Script()
    graph = a_chain(script, ["first"])
    saver = attempts.saver(1)
    compiled = graph.compile(checkpointer=saver, interrupt_before=["first"])
    await compiled.ainvoke({"task": "kept"}, CONFIG, durability="sync")

    state = await attempts.run(graph, 2)

    assert state == {"task": "kept", "done": ["first"]}


async def test_a_subgraph_goes_on_where_it_was_and_leaves_nothing_behind(
    attempts: Attempts, database: Database
) -> None:
    script = Script(does={"inner two": fail})
    inner = a_chain(script, ["inner one", "inner two"]).compile()
    graph = a_chain(script, ["first"])
    graph.add_node("outer.node", inner)
    graph.add_node("last", script.node("last"))
    graph.add_edge("first", "outer.node")
    graph.add_edge("outer.node", "last")
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    script.does.clear()
    saved_inside = len((await stored(database))["spaces"])

    await attempts.run(graph, 2)

    assert script.calls == {"first": 1, "inner one": 1, "inner two": 2, "last": 1}
    assert saved_inside == 2
    assert [space["ns"] for space in (await stored(database))["spaces"].values()] == [""]


async def test_two_calls_of_a_subgraph_that_keeps_its_state_build_on_each_other(attempts: Attempts) -> None:
    script = Script(does={"last": fail})
    graph = a_chain(script, ["first"])
    graph.add_node("memory", a_chain(script, ["inner"]).compile(checkpointer=True))
    graph.add_node("last", script.node("last"))
    graph.add_edge("first", "memory")
    graph.add_edge("memory", "last")
    with pytest.raises(NodeFailed):
        await attempts.start(graph, 1)
    script.does.clear()
    await attempts.run(graph, 2)

    listed = [found async for found in attempts.saver(3).alist(CONFIG)]

    assert script.calls == {"first": 1, "inner": 1, "last": 2}
    assert sorted(found.config["configurable"]["checkpoint_ns"] for found in listed) == ["", "memory"]


async def test_the_latest_checkpoint_is_found_by_its_id_and_in_the_list(attempts: Attempts) -> None:
    await attempts.start(a_chain(Script(), ["first"]), 1)
    saver = attempts.saver(2)

    latest = await saver.aget_tuple(CONFIG)
    assert latest is not None
    by_id = await saver.aget_tuple(latest.config)
    listed = [found async for found in saver.alist(CONFIG, filter={"source": "loop"}, limit=5)]

    assert by_id == latest
    assert listed == [latest]
    assert latest.parent_config is not None
    assert await saver.aget_tuple(latest.parent_config) is None
    assert [found async for found in saver.alist(CONFIG, filter={"source": "input"})] == []
    assert [found async for found in saver.alist(CONFIG, before=latest.config)] == []
    assert [found async for found in saver.alist(CONFIG, limit=0)] == []


async def test_a_deleted_thread_begins_again(attempts: Attempts, database: Database) -> None:
    script = Script()
    graph = a_chain(script, ["first"])
    await attempts.start(graph, 1)

    await attempts.saver(2).adelete_thread(THREAD)

    assert await database["checkpoints"].count_documents({}) == 0
    assert await attempts.saver(3).aget_tuple(CONFIG) is None
    await attempts.start(graph, 3)
    assert script.calls == {"first": 2}


async def test_threads_are_apart(attempts: Attempts) -> None:
    await attempts.start(a_chain(Script(), ["first"]), 1)

    other = await attempts.saver(1).aget_tuple({"configurable": {"thread_id": "task-2/0/TestAgent"}})

    assert other is None


async def test_a_channel_that_needs_a_history_is_refused(attempts: Attempts) -> None:
    with pytest.raises(NotImplementedError):
        await attempts.saver(1).aget_delta_channel_history(config=CONFIG, channels=["done"])
