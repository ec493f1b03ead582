"""What is left of an agent's state goes with its task, and nothing of any other."""

from collections.abc import Sequence
from pathlib import Path

from app.artifacts.store import ArtifactStore
from app.checkpoints.models import COLLECTION
from app.checkpoints.retention import delete_checkpoints_of
from app.database.documents import Database, Documents
from app.jobs.retention import ExpiredJob
from app.tasks.artifacts import delete_artifacts_of
from tests.checkpoint_builders import MEBIBYTE, Attempts, Script, a_chain, blobs_in, wrote
from tests.job_builders import OTHER_TENANT, TENANT


async def test_the_threads_of_a_deleted_task_go_with_their_blobs_and_no_others(
    attempts: Attempts, database: Database, tmp_path: Path
) -> None:
    graph = a_chain(Script(does={"first": wrote(2 * MEBIBYTE)}), ["first"])
    threads = ("task-1/0/TestAgent", "task-1/1/TestAgent", "task-10/0/TestAgent")
    for thread_id in threads:
        await Attempts(attempts.checkpoints, thread_id=thread_id).start(graph, 1)
    store = ArtifactStore(str(tmp_path))
    deletions = delete_checkpoints_of(Documents(database[COLLECTION])), delete_artifacts_of(store)

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for one in deletions:
            await one(jobs)

    await delete([ExpiredJob("task-1", OTHER_TENANT)])
    untouched = await database[COLLECTION].count_documents({})
    await delete([ExpiredJob("task-1", TENANT)])
    await delete([ExpiredJob("task-1", TENANT)])

    left = [one async for one in database[COLLECTION].find()]
    assert untouched == len(threads)
    assert [one["thread_id"] for one in left] == ["task-10/0/TestAgent"]
    assert [path.name for path in blobs_in(tmp_path)] == left[0]["blobs"]
