"""Tasks that are to start at a given time. No route makes them; the kernel knows them, and retries are such."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pymongo import AsyncMongoClient

from app.clock import utc_now
from app.database.documents import Documents
from app.ids import new_id
from app.jobs.models import NewJob
from app.jobs.retry import Backoff, RetryPolicy
from app.jobs.store import JobStore
from app.tasks.models import COLLECTION, Caller, Submission, new_task
from tests.chaos.client import EXECUTE, Answer, ChaosClient
from tests.chaos.work import AGENT, Work
from tests.chaos.world import DATABASE, World

SECOND = timedelta(seconds=1)
POLICY = RetryPolicy(max_attempts=3, backoff=Backoff(initial=SECOND, maximum=60 * SECOND))
Due = dict[str, datetime]


def set_timers(world: World, client: ChaosClient, work: Work, delays: Sequence[float]) -> Due:
    """Store one task for each delay, in seconds from now; the client counts them among those it was promised."""
    begins_at = utc_now()
    jobs = [_job(work, begins_at + timedelta(seconds=delay)) for delay in delays]
    asyncio.run(_enqueue(world, jobs))
    now = time.monotonic()
    client.answers.extend(Answer(EXECUTE, now, now, 202, {"task_id": job.id}) for job in jobs)
    return {job.id: job.not_before for job in jobs if job.not_before is not None}


def lateness(world: World, due: Due) -> list[float]:
    """Seconds from when each was due to its first claim, lowest first; both by the store's clock."""
    documents = world.documents(*due).values()
    first_claims = ((one["_id"], _first_claim(one["history"])) for one in documents)
    return sorted((claimed_at - due[task_id]).total_seconds() for task_id, claimed_at in first_claims)


def _first_claim(history: Sequence[dict[str, Any]]) -> datetime:
    found: datetime = next(entry["at"] for entry in history if entry["reason"] == "claimed")
    return found


def _job(work: Work, due: datetime) -> NewJob:
    caller = Caller(tenant_id="default", key_id="chaos", request_id=new_id(), trace_id=new_id())
    submission = Submission(work.text, agent=AGENT)
    job = new_task(submission, caller, task_id=new_id(), session_id="timers", policy=POLICY, deadline_at=None)
    return replace(job, not_before=due)


async def _enqueue(world: World, jobs: Sequence[NewJob]) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(world.store.mongo_uri, tz_aware=True)
    try:
        # Nothing is rung for: the sweep must do it, so the time of a first repetition does not matter.
        store = JobStore(Documents(client[DATABASE][COLLECTION]), clock=utc_now, redispatch=SECOND)
        await asyncio.gather(*(store.enqueue(job) for job in jobs))
    finally:
        await client.close()
