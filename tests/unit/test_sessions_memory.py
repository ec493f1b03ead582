"""What a task is told of its session: whole turns, the newest, condensed once, and nothing that is none of its own."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import structlog

from app.agents.context import ContextTooLong
from app.database.documents import Database
from app.errors import OrchestratorError
from app.llm.errors import AgentOutputInvalid, LlmTimeout
from app.sessions.messages import COLLECTION as MESSAGES
from app.sessions.models import COLLECTION
from app.sessions.tasks import MOST_TURNS
from app.sessions.window import Limits
from tests.fakes.fate import Collection, Fate
from tests.job_builders import OTHER_TENANT, SECOND, FakeClock
from tests.session_builders import LIFETIME, PATIENCE, Condenser, Talk, texts

DAY = timedelta(days=1)
# Three turns with such an answer fit, or two beside a small summary.
LONG = "word " * 20
TIGHT = Limits(context=140, condensed=40)


@pytest.fixture
def talk(database: Database, clock: FakeClock) -> Talk:
    return Talk(database, clock)


async def test_the_next_task_is_told_what_was_asked_and_answered_before(talk: Talk) -> None:
    await talk.turn("Reverse a string in Python", "```python\nprint('olleh')\n```")

    history = await talk.recall()

    assert [(one.role, one.content) for one in history] == [
        ("user", "Reverse a string in Python"),
        ("assistant", "```python\nprint('olleh')\n```"),
    ]


async def test_the_turn_before_is_there_although_its_messages_are_not_written_yet(talk: Talk) -> None:
    await talk.turn("Reverse a string")
    await talk.database[MESSAGES].delete_many({})

    assert texts(await talk.recall()) == ["Reverse a string", "An answer."]


async def test_a_task_that_was_not_answered_is_no_turn(talk: Talk) -> None:
    for status in ("failed", "cancelled", "processing", "queued"):
        await talk.ask(f"This is {status}", status=status)

    assert await talk.recall() == ()


async def test_a_task_sees_what_came_before_it_and_not_what_came_after(talk: Talk) -> None:
    await talk.turn("First")
    second = await talk.ask("Second")
    await talk.turn("Third")

    assert texts(await talk.recall(second)) == ["First", "An answer."]


async def test_the_first_task_of_a_session_that_was_made_for_it_is_remembered(talk: Talk) -> None:
    await talk.turn("Made by us", named=False)

    assert texts(await talk.recall()) == ["Made by us", "An answer."]


async def test_another_tenants_session_of_the_same_name_is_another_session(
    talk: Talk, database: Database, clock: FakeClock
) -> None:
    await talk.turn("A secret")
    other = Talk(database, clock, tenant_id=OTHER_TENANT)

    assert await other.recall() == ()
    assert texts(await talk.recall()) == ["A secret", "An answer."]


async def test_a_task_without_a_session_of_its_clients_costs_no_operation(talk: Talk) -> None:
    task, fate = await talk.ask("Alone", named=False), Fate()
    watched: Any = {name: Collection(talk.database[name], fate) for name in ("tasks", COLLECTION, MESSAGES)}

    history = await Talk(watched, talk.clock).memory.recall(task, talk.condenser)

    assert history == ()
    assert fate.commands == {}


async def test_a_task_of_a_session_costs_two_operations_once_it_is_known(talk: Talk) -> None:
    await talk.turn("First")
    await talk.recall()
    task, fate = await talk.ask(), Fate()
    watched: Any = {name: Collection(talk.database[name], fate) for name in ("tasks", COLLECTION, MESSAGES)}

    await Talk(watched, talk.clock).memory.recall(task, talk.condenser)

    assert fate.commands == {"find_one_and_update": 1, "find": 1}


async def test_without_context_nothing_is_told(talk: Talk) -> None:
    await talk.turn("First")
    talk.limits = Limits(context=0, condensed=0)

    assert await talk.recall() == ()


async def test_what_falls_out_of_the_window_is_condensed_and_stays_known(talk: Talk) -> None:
    talk.limits = TIGHT
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)

    told = texts(await talk.recall())

    assert told[1] == "What was asked:\n- Question 1\n- Question 2"
    assert told[2:] == ["Question 3", LONG, "Question 4", LONG]
    assert talk.condenser.calls == [["Question 1", "Question 2"]]


async def test_only_new_turns_are_condensed_and_added_to_what_is_known(talk: Talk) -> None:
    talk.limits = TIGHT
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)
    await talk.recall()
    await talk.turn("Question 5", LONG)
    await talk.recall()
    for number in (6, 7):
        await talk.turn(f"Question {number}", LONG)

    told = texts(await talk.recall())

    condensed = [question for call in talk.condenser.calls for question in call]
    assert condensed == [f"Question {number}" for number in range(1, len(condensed) + 1)]
    in_full = [text for text in told if text.startswith("Question ")]
    assert in_full == [f"Question {number}" for number in range(len(condensed) + 1, 8)]
    assert all(f"- {question}" in told[1] for question in condensed)


async def test_a_memory_is_used_again_without_a_call(talk: Talk) -> None:
    talk.limits = TIGHT
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)
    first = await talk.recall()

    assert await talk.recall() == first
    assert len(talk.condenser.calls) == 1


@pytest.mark.parametrize(
    "failure", [AgentOutputInvalid("no summary"), LlmTimeout("slow"), ContextTooLong("too long")], ids=lambda e: e.code
)
async def test_a_failing_summary_leaves_the_window_and_is_not_tried_at_once_again(
    talk: Talk, failure: OrchestratorError
) -> None:
    talk.limits, talk.condenser = TIGHT, Condenser(failure)
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)

    with structlog.testing.capture_logs() as logged:
        told = [texts(await talk.recall()) for _ in range(2)]

    assert told == [["Question 2", LONG, "Question 3", LONG, "Question 4", LONG]] * 2
    assert len(talk.condenser.calls) == 1
    assert [(entry["event"], entry["error_type"]) for entry in logged] == [("session.not_summarised", failure.code)]
    assert "Question" not in str(logged)


async def test_a_failed_summary_is_made_up_for_later(talk: Talk) -> None:
    talk.limits, talk.condenser = TIGHT, Condenser(LlmTimeout("slow"))
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)
    await talk.recall()
    talk.condenser.failure = None
    talk.clock.advance(PATIENCE + SECOND)

    assert texts(await talk.recall())[1].endswith("- Question 1\n- Question 2")


async def test_tasks_at_the_same_time_condense_once(talk: Talk) -> None:
    talk.limits = TIGHT
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)
    tasks = [await talk.ask(f"Together {number}") for number in range(5)]

    histories = await asyncio.gather(*(talk.recall(task) for task in tasks))

    assert len(talk.condenser.calls) == 1
    told = [[text for text in texts(history) if text != LONG][1:] for history in histories]
    # One has the memory and two turns, the others the three turns that fit.
    assert sorted(told) == [["Question 3", "Question 4"]] * 4 + [
        ["What was asked:\n- Question 1\n- Question 2", "Question 3", "Question 4"]
    ]


async def test_a_session_that_is_deleted_while_it_is_condensed_stays_forgotten(talk: Talk) -> None:
    talk.limits = TIGHT
    for number in range(1, 5):
        await talk.turn(f"Question {number}", LONG)
    condensing, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(*material: Any) -> Any:
        condensing.set()
        await may_end.wait()
        return await talk.condenser(*material)

    task = await talk.ask()
    recalling = asyncio.create_task(talk.memory.recall(task, slowly))
    await condensing.wait()
    await talk.service.delete(talk.tenant_id, talk.session_id)
    may_end.set()
    await recalling

    assert await talk.recall() == ()
    assert (await talk.service.get(talk.tenant_id, talk.session_id)).has_summary is False


async def test_a_deleted_session_is_not_told_to_later_tasks_nor_to_those_that_waited(talk: Talk) -> None:
    await talk.turn("Before")
    waiting = await talk.ask("Waits")
    await talk.service.delete(talk.tenant_id, talk.session_id)

    assert await talk.recall(waiting) == ()
    await talk.turn("After")
    assert texts(await talk.recall()) == ["After", "An answer."]


async def test_an_expired_session_is_forgotten_and_one_that_is_used_is_not(talk: Talk) -> None:
    await talk.turn("First")
    for _ in range(3):
        talk.clock.advance(LIFETIME - DAY)
        await talk.recall()
    told = texts(await talk.recall())
    talk.clock.advance(LIFETIME + DAY)

    assert told == ["First", "An answer."]
    assert await talk.recall() == ()


async def test_messages_are_prolonged_with_their_session_but_not_by_every_task(talk: Talk) -> None:
    await talk.turn("First")
    changes = 0
    kept = await expiries(talk)
    for _ in range(60):
        talk.clock.advance(DAY)
        await talk.recall()
        before, kept = kept, await expiries(talk)
        changes += kept != before
        session = await talk.sessions.find(talk.tenant_id, talk.session_id)
        assert session is not None
        assert min(kept) >= session.expires_at

    assert 1 <= changes <= 60 / 3


async def expiries(talk: Talk) -> list[Any]:
    found = await talk.database[MESSAGES].find({"content": {"$in": ["First", "An answer."]}}).to_list()
    return [message["expires_at"] for message in found]


async def test_a_session_of_very_many_turns_is_read_to_a_bound(talk: Talk) -> None:
    talk.limits = Limits(context=1_000_000, condensed=0)
    for number in range(MOST_TURNS + 5):
        await talk.turn(f"Question {number}")

    history = await talk.recall()

    assert len(history) == 2 * MOST_TURNS
    assert history[-2].content == f"Question {MOST_TURNS + 4}"


async def test_a_task_that_an_older_version_stored_has_no_memory(talk: Talk) -> None:
    await talk.turn("First")
    task = await talk.ask()
    del task["continues_session"]

    assert await talk.recall(task) == ()
