"""Work that is cancelled while the store is away, as often as it may be, does not cost the process its store."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from app.database.documents import Documents
from app.database.errors import StoreUnavailable
from tests.processes import running, start_store

WAITING = 20
TIMEOUT_MS = 2000


# The driver drops a connection that was being made when the store came back without closing it.
@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
async def test_operations_cancelled_twice_while_the_store_is_down_leave_the_client_usable(tmp_path: Path) -> None:
    store = start_store(tmp_path)
    async with AsyncMongoClient[dict[str, Any]](store.mongo_uri, timeoutMS=TIMEOUT_MS) as client:
        documents = Documents(client["db"]["c"])
        await documents.insert({"_id": "a", "tenant_id": "acme"})
        store.process.kill()
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(10):
                await documents.find_one({})
        waiting = [asyncio.create_task(documents.find_one({})) for _ in range(WAITING)]
        for _ in range(WAITING):
            await asyncio.sleep(0)

        for _ in range(2):
            for task in waiting:
                task.cancel()
            await asyncio.sleep(0)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        going_on = [task for task in asyncio.all_tasks() if "Documents.find_one" in repr(task.get_coro())]

        with running(start_store(tmp_path, port=store.port).process):
            async with asyncio.timeout(10):
                found = await documents.find_one({"_id": "a"})
            await asyncio.wait(going_on, timeout=10)
    assert going_on
    assert {type(end) for end in ended} == {asyncio.CancelledError}
    assert found is not None


async def test_a_cancelled_caller_hears_of_it_at_once_and_the_write_may_still_happen(tmp_path: Path) -> None:
    with running((store := start_store(tmp_path)).process):
        async with AsyncMongoClient[dict[str, Any]](store.mongo_uri, timeoutMS=TIMEOUT_MS) as client:
            documents = Documents(client["db"]["c"])
            writing = asyncio.create_task(documents.insert({"_id": "a", "tenant_id": "acme"}))
            await asyncio.sleep(0)

            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing

            async with asyncio.timeout(10):
                while await documents.find_one({"_id": "a"}) is None:  # noqa: ASYNC110 - the store announces nothing
                    await asyncio.sleep(0.01)
