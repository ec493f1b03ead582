"""A session's messages are completed from its finished tasks, whatever a crash left out."""

from datetime import timedelta
from typing import Any

import pytest

from app.database.documents import Database, Documents
from app.jobs.workers import SYSTEM_TENANT
from app.metrics.rollups import BATCHES_PER_PASS, COUNTED
from app.sessions.messages import COLLECTION as MESSAGES
from app.sessions.messages import MessageLog
from app.tasks.conversation import Conversation
from tests.job_builders import NOON, SECOND, TENANT


class Crash(Exception):
    """Stands for the process dying between two writes."""


class FragileDocuments(Documents):
    """Dies at its next write."""

    async def insert_missing(self, documents: Any) -> frozenset[int]:
        raise Crash

    def of_tenant(self, tenant_id: str) -> Any:
        return self

    async def delete_one(self, where: Any) -> bool:
        raise Crash


def a_conversation(
    database: Database, *, messages: type[Documents] = Documents, counted: type[Documents] = Documents
) -> Conversation:
    return Conversation(
        Documents(database["tasks"]),
        Documents(database[MESSAGES]),
        MessageLog(messages(database[MESSAGES]), lifetime=timedelta(days=30)),
        counted(database[COUNTED]),
    )


async def end(database: Database, *task_ids: str, answer: str | None = "An answer.") -> None:
    """Tasks that ended, and the batch the roll-ups leave of them."""
    for task_id in task_ids:
        task: dict[str, Any] = {
            "_id": task_id,
            "tenant_id": TENANT,
            "session_id": "s1",
            "input_text": "A question?",
            "created_at": NOON,
            "completed_at": NOON + SECOND,
            "result": None if answer is None else {"raw_output": answer, "summary": "short"},
        }
        await database["tasks"].insert_one(task)
    await database[COUNTED].insert_one({"_id": task_ids[0], "tenant_id": SYSTEM_TENANT, "jobs": list(task_ids)})


async def written(database: Database) -> dict[str, str]:
    return {message["_id"]: message["content"] for message in await database[MESSAGES].find({}).to_list()}


async def unchecked(database: Database) -> int:
    return await database[COUNTED].count_documents({})


async def test_question_and_answer_of_a_counted_task_are_completed(database: Database) -> None:
    await end(database, "t1", "t2")

    await a_conversation(database).complete_counted()

    expected = {"t1:user": "A question?", "t1:assistant": "An answer."}
    assert await written(database) == {**expected, "t2:user": "A question?", "t2:assistant": "An answer."}
    assert await unchecked(database) == 0


@pytest.mark.parametrize("there", ["user", "assistant"])
async def test_what_is_there_stays_and_the_other_is_added(database: Database, there: str) -> None:
    await end(database, "t1")
    await database[MESSAGES].insert_one({"_id": f"t1:{there}", "tenant_id": TENANT, "content": "as it was"})

    await a_conversation(database).complete_counted()

    messages = await written(database)
    assert set(messages) == {"t1:user", "t1:assistant"}
    assert messages[f"t1:{there}"] == "as it was"


async def test_a_task_without_a_result_has_a_question_only(database: Database) -> None:
    await end(database, "t1", answer=None)

    await a_conversation(database).complete_counted()

    assert set(await written(database)) == {"t1:user"}


async def test_a_deleted_task_gets_no_messages_and_holds_nothing_up(database: Database) -> None:
    await end(database, "t1", "t2")
    await database["tasks"].delete_one({"_id": "t1"})

    await a_conversation(database).complete_counted()

    assert set(await written(database)) == {"t2:user", "t2:assistant"}
    assert await unchecked(database) == 0


@pytest.mark.parametrize("fragile", ["messages", "counted"])
async def test_a_crash_at_either_write_leaves_the_batch_to_be_checked_again(database: Database, fragile: str) -> None:
    await end(database, "t1")
    dying = {"messages": FragileDocuments} if fragile == "messages" else {"counted": FragileDocuments}

    with pytest.raises(Crash):
        await a_conversation(database, **dying).complete_counted()
    left = await unchecked(database)
    await a_conversation(database).complete_counted()

    assert left == 1
    assert set(await written(database)) == {"t1:user", "t1:assistant"}
    assert await unchecked(database) == 0


async def test_a_pass_is_bounded_and_the_oldest_batches_come_first(database: Database) -> None:
    for number in range(BATCHES_PER_PASS + 1):
        await end(database, f"t{number}")
    conversation = a_conversation(database)

    await conversation.complete_counted()
    after_one = await unchecked(database)
    await conversation.complete_counted()

    assert after_one == 1
    assert f"t{BATCHES_PER_PASS}:user" in await written(database)
    assert await unchecked(database) == 0
