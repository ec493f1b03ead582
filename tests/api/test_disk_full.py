"""A store without space refuses what is new, as something that passes, and keeps what it has."""

import resource
from pathlib import Path

from tests.api.conftest import StartApi
from tests.api.harness import problem_of
from tests.processes import running, start_store

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


async def test_a_full_disk_is_a_503_to_come_back_after(tmp_path: Path, start_api: StartApi) -> None:
    own = start_store(tmp_path)
    with running(own.process):
        async with start_api(mongo_uri=own.mongo_uri) as api:
            accepted = await api.submit()
            room = (tmp_path / "store" / "store.log").stat().st_size + 100
            resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

            refused = await api.execute()
            again = await api.execute(headers={"Idempotency-Key": "key-1"})
            kept = await api.read(accepted)
            resource.prlimit(own.process.pid, resource.RLIMIT_FSIZE, UNLIMITED)
            later = await api.execute(headers={"Idempotency-Key": "key-1"})

            for answer in (refused, again):
                problem_of(answer, 503, "SERVICE_UNAVAILABLE")
                assert int(answer.headers["Retry-After"]) >= 1
            assert kept["status"] == "queued"
            assert later.status_code == 202
