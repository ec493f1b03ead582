"""Sessions on every store: when they begin and end, who condenses, what a page shows and a deletion leaves."""

import asyncio
from datetime import datetime, timedelta

import pytest

from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.http.pagination import Cursor, PageParams
from app.sessions import messages, repository
from app.sessions.models import Memory, Position, SessionNotFound
from app.sessions.tasks import SessionTasks
from app.tasks.repository import INDEXES as TASK_INDEXES
from tests.contracts.store_outcomes import Database
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock
from tests.session_builders import LIFETIME, Talk, texts

DAY = timedelta(days=1)
MEMORY = Memory("A summary.", ("A fact.",), Position(NOON, "t1"))


@pytest.fixture
async def talk(db: Database) -> Talk:
    await ensure_indexes(db, (*repository.INDEXES, *messages.INDEXES, *TASK_INDEXES))
    # The store removes what has expired by its own clock, so this one must not be behind.
    return Talk(db, FakeClock(NOON + 3650 * DAY))


async def began(talk: Talk, session_id: str = "s", *, at: datetime | None = None) -> None:
    assert await talk.sessions.touch(TENANT, session_id, asked_at=at or talk.clock())


async def test_tasks_that_begin_a_session_at_the_same_time_begin_one(talk: Talk) -> None:
    at = talk.clock()

    sessions = await asyncio.gather(*(talk.sessions.touch(TENANT, "s", asked_at=at) for _ in range(8)))

    assert {session and session.begins_at for session in sessions} == {at - LIFETIME}
    assert await talk.sessions.count(TENANT, limit=10) == 1


async def test_activity_prolongs_a_session_and_silence_ends_it(talk: Talk) -> None:
    await began(talk)
    talk.clock.advance(LIFETIME - SECOND)
    await began(talk)
    talk.clock.advance(LIFETIME)
    alive = await talk.sessions.find(TENANT, "s")
    talk.clock.advance(SECOND)

    assert alive is not None
    assert await talk.sessions.find(TENANT, "s") is None
    assert await talk.sessions.list_page(TENANT, limit=10) == []


async def test_a_session_that_begins_again_remembers_nothing(talk: Talk) -> None:
    await began(talk)
    session = await talk.sessions.find(TENANT, "s")
    assert session is not None
    assert await talk.sessions.claim_summary(session, token="a", until=talk.clock() + SECOND)
    assert await talk.sessions.remember(session, MEMORY, token="a")
    talk.clock.advance(LIFETIME + SECOND)

    again = await talk.sessions.touch(TENANT, "s", asked_at=talk.clock())

    assert again is not None
    assert again.memory is None
    assert again.begins_at == talk.clock() - LIFETIME


async def test_a_memory_comes_back_as_it_was_stored(talk: Talk) -> None:
    await began(talk)
    session = await talk.sessions.find(TENANT, "s")
    assert session is not None

    assert await talk.sessions.claim_summary(session, token="a", until=talk.clock() + SECOND)
    assert await talk.sessions.remember(session, MEMORY, token="a")

    found = await talk.sessions.find(TENANT, "s")
    assert found is not None
    assert found.memory == MEMORY


async def test_one_condenses_at_a_time_and_only_on_what_it_has_read(talk: Talk) -> None:
    await began(talk)
    session = await talk.sessions.find(TENANT, "s")
    assert session is not None
    until = talk.clock() + SECOND

    claims = await asyncio.gather(*(talk.sessions.claim_summary(session, token=token, until=until) for token in "abcd"))
    assert sorted(claims) == [False, False, False, True]
    winner = "abcd"[claims.index(True)]
    assert not await talk.sessions.remember(session, MEMORY, token="stranger")
    talk.clock.advance(2 * SECOND)
    assert await talk.sessions.claim_summary(session, token="late", until=talk.clock() + SECOND)
    assert not await talk.sessions.remember(session, MEMORY, token=winner)
    assert await talk.sessions.remember(session, MEMORY, token="late")
    assert not await talk.sessions.claim_summary(session, token="of old", until=talk.clock() + SECOND)


async def test_sessions_are_listed_by_their_last_activity_page_by_page(talk: Talk, db: Database) -> None:
    for session_id in ("a", "b", "c", "d"):
        talk.clock.advance(SECOND)
        await began(talk, session_id)
    await talk.sessions.touch(OTHER_TENANT, "e", asked_at=talk.clock())
    talk.clock.advance(SECOND)
    await began(talk, "b")
    await talk.sessions.forget(TENANT, "c")

    first = await talk.sessions.list_page(TENANT, limit=2)
    cursor = Cursor(first[-1].last_activity_at, first[-1].id)
    second = await talk.sessions.list_page(TENANT, limit=2, after=cursor)

    assert [session.id for session in (*first, *second)] == ["b", "d", "a"]
    assert await talk.sessions.count(TENANT, limit=10) == 3


async def test_totals_are_of_the_sessions_own_tasks(talk: Talk, db: Database) -> None:
    first = await talk.turn("First")
    await talk.ask("Second", status="failed")
    await Talk(db, talk.clock, session_id="another").turn("Other")
    await Talk(db, talk.clock, tenant_id=OTHER_TENANT).turn("Other")

    overview = await talk.service.get(TENANT, "s")

    assert (overview.totals.tasks, overview.totals.tokens, overview.totals.usd) == (2, 20, 0.5)
    assert overview.totals.created_at == first["created_at"]
    assert overview.messages == 3
    assert overview.expires_at == overview.totals.last_activity_at + LIFETIME
    tasks = SessionTasks(Documents(db["tasks"]))
    assert await tasks.total(TENANT, "nobody's", since=NOON) is None


async def test_messages_are_paged_in_the_order_of_the_conversation(talk: Talk) -> None:
    for number in range(3):
        await talk.turn(f"Question {number}")

    first = await talk.service.list_messages(TENANT, "s", PageParams(page_size=4))
    last = first.items[-1]
    rest = await talk.service.list_messages(
        TENANT, "s", PageParams(page_size=4, after=Cursor(last["created_at"], last["_id"]))
    )

    told = [message["content"] for message in (*first.items, *rest.items)]
    assert told == [text for number in range(3) for text in (f"Question {number}", "An answer.")]
    assert (first.has_next, rest.has_next, first.total) == (True, False, 6)


async def test_an_answer_is_never_before_its_question(talk: Talk) -> None:
    task = await talk.ask("Asked by a fast clock")
    talk.clock.advance(-60 * SECOND)
    await talk.answer(task, "Answered by a slow one")

    page = await talk.service.list_messages(TENANT, "s", PageParams())

    assert [message["role"] for message in page.items] == ["user", "assistant"]


async def test_a_deleted_session_is_gone_and_what_is_asked_later_begins_a_new_one(talk: Talk, db: Database) -> None:
    running = await talk.turn("Before")
    late = await talk.ask("Still running")
    await talk.recall(running)

    await talk.service.delete(TENANT, "s")
    await talk.answer(late, "A late answer")

    for question in (talk.service.get, talk.service.delete, talk.service.get_beginning):
        with pytest.raises(SessionNotFound, match="no session 's'"):
            await question(TENANT, "s")
    assert await db["tasks"].count_documents({}) == 2
    assert await db["messages"].count_documents({"_id": {"$regex": "task-acme-s-001"}}) == 0

    await talk.turn("After")
    page = await talk.service.list_messages(TENANT, "s", PageParams())
    assert [message["content"] for message in page.items] == ["After", "An answer."]
    assert texts(await talk.recall()) == ["After", "An answer."]


async def test_a_deletion_that_died_in_between_can_be_repeated(talk: Talk) -> None:
    await talk.turn("Before")
    await talk.messages.delete_session(TENANT, "s")

    await talk.service.delete(TENANT, "s")

    with pytest.raises(SessionNotFound):
        await talk.service.get(TENANT, "s")
