"""Whose thread it is, when it is deleted, and what a worker refuses to start with."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.checkpoints.models import ThreadKey, thread_of
from app.checkpoints.service import Checkpoints
from app.checkpoints.strictness import VARIABLE, require_strict_msgpack
from app.database.documents import Database
from app.database.errors import StoreUnavailable
from app.devstack.source import with_source
from app.jobs.history import new_entry
from app.jobs.models import Reason, Status
from app.settings import ConfigurationError, Settings, load_settings
from tests.checkpoint_builders import the_checkpoints
from tests.job_builders import NOON, TENANT, FakeClock, a_job
from tests.processes import module


@pytest.fixture
def checkpoints(database: Database, clock: FakeClock, tmp_path: Path) -> Checkpoints:
    return the_checkpoints(database, tmp_path, clock=clock)


async def saved(checkpoints: Checkpoints, *job_ids: str) -> None:
    """What an attempt at each of the jobs left in the store."""
    for job_id in job_ids:
        attempt = checkpoints.of_attempt(ThreadKey(f"{job_id}/0/Agent", TENANT, 1))
        thread, _ = attempt.open(shape="s")
        await thread.put("", ids=("id-1", None), checkpoint=("null", b""), metadata=("null", b""))
        await thread.save()
        checkpoints.remember(job_id, attempt)


def history(*reasons: Reason) -> list[dict[str, Any]]:
    return [new_entry(Status.QUEUED, NOON, reason) for reason in reasons]


A, C, L, R = Reason.ACCEPTED, Reason.CLAIMED, Reason.WORKER_LOST, Reason.RETRIED


@pytest.mark.parametrize(
    ("reasons", "series", "fence", "is_new"),
    [
        ((A, C), 0, 1, True),
        ((A, C, L, C), 0, 2, False),
        ((A, C, Reason.WORKER_DRAINING, C), 0, 2, False),
        ((A, C, L, C, Reason.FAILED, R, C), 1, 3, True),
        ((A, C, Reason.FAILED, R, C, L, C), 1, 3, False),
        ((A, C, Reason.FAILED, R, C, Reason.FAILED, R, C), 2, 3, True),
    ],
)
def test_a_thread_is_an_agents_work_in_one_series_fenced_by_every_claim(
    reasons: tuple[Reason, ...], series: int, fence: int, is_new: bool
) -> None:
    job = a_job(document={"history": history(*reasons)})

    assert thread_of(job, "CodeAgent") == ThreadKey(f"job-1/{series}/CodeAgent", TENANT, fence, is_new)


async def test_the_threads_of_jobs_that_ended_are_deleted_and_no_others(
    checkpoints: Checkpoints, database: Database
) -> None:
    await saved(checkpoints, "ended", "other", "goes-on")

    checkpoints.settled("ended", is_final=True)
    checkpoints.settled("other", is_final=True)
    checkpoints.settled("goes-on", is_final=False)
    checkpoints.settled("saved-nothing", is_final=True)
    await checkpoints.close()

    assert await database["checkpoints"].distinct("thread_id") == ["goes-on/0/Agent"]


async def test_an_attempt_that_saved_nothing_asks_the_store_nothing(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("the store was asked")

    for name in ("update_one", "change_one", "find_one", "find_many", "delete_one", "delete_many"):
        monkeypatch.setattr(f"app.database.documents.Documents.{name}", forbidden)
    attempt = checkpoints.of_attempt(ThreadKey("job-1/0/Agent", TENANT, 1, is_new=True))
    thread, _ = attempt.open(shape="s")

    assert not await thread.load()
    checkpoints.remember("job-1", attempt)
    checkpoints.settled("job-1", is_final=True)
    await checkpoints.close()


async def test_a_deletion_that_fails_costs_nothing_but_the_wait_for_the_expiry(
    checkpoints: Checkpoints, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any, **__: Any) -> int:
        raise StoreUnavailable("gone")

    await saved(checkpoints, "first", "second")
    with monkeypatch.context() as patched:
        patched.setattr("app.database.documents.Documents.delete_many", gone)
        checkpoints.settled("first", is_final=True)
        await checkpoints.close()

    checkpoints.settled("second", is_final=True)
    await checkpoints.close()

    assert await database["checkpoints"].distinct("thread_id") == ["first/0/Agent"]


async def test_only_so_many_threads_are_remembered(
    checkpoints: Checkpoints, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.checkpoints.service.MOST_REMEMBERED", 2)
    await saved(checkpoints, "lost", "second", "third")

    for job_id in ("lost", "second", "third"):
        checkpoints.settled(job_id, is_final=True)
    await checkpoints.close()

    assert await database["checkpoints"].distinct("thread_id") == ["lost/0/Agent"]


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes"])
def test_the_strict_mode_is_accepted_as_langgraph_spells_it(value: str) -> None:
    require_strict_msgpack({VARIABLE: value})


@pytest.mark.parametrize("environment", [{}, {VARIABLE: "false"}, {VARIABLE: ""}, {VARIABLE: "0"}])
def test_without_the_strict_mode_nothing_starts(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=VARIABLE):
        require_strict_msgpack(environment)


@pytest.mark.slow
def test_a_worker_that_is_told_to_do_without_the_strict_mode_refuses_to_start(tmp_path: Path) -> None:
    said = subprocess.run(
        module("worker"),
        cwd=tmp_path,
        env=with_source({**os.environ, VARIABLE: "false"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 2
    assert VARIABLE in said.stderr
    assert "Traceback" not in said.stderr


STRICT = "import worker.__main__, langgraph.checkpoint.serde._msgpack as m; print(m.STRICT_MSGPACK_ENABLED)"


@pytest.mark.slow
def test_langgraph_is_strict_in_a_worker_that_is_told_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}

    said = subprocess.run(
        (*module("worker")[:1], "-c", STRICT), env=with_source(environment), capture_output=True, text=True, check=True
    )

    assert said.stdout.strip() == "True"


@pytest.mark.parametrize("location", ["blobs", "file:///srv/blobs", "s3://bucket", "s3://bucket/some/prefix"])
def test_a_place_for_artifacts_is_a_folder_or_a_bucket(location: str) -> None:
    assert load_settings(_env_file=None, artifact_store=location).artifact_location == location


@pytest.mark.parametrize("location", ["s3://", "s3:///prefix", "gs://bucket", "file://host/folder"])
def test_another_place_for_artifacts_is_refused(location: str) -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACT_STORE"):
        load_settings(_env_file=None, artifact_store=location)


def test_without_a_place_artifacts_are_below_the_data_folder() -> None:
    settings = Settings(data_dir=Path("data"))

    assert settings.artifact_location == str(Path("data") / "artifacts")
