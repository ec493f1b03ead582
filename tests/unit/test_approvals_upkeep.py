"""What the upkeep does for approvals when there are many."""

from pathlib import Path

from app.database.documents import Database
from app.governance.approvals.models import ApprovalSubject, SubjectKind
from app.governance.approvals.transitions import LOOK_AGAIN
from app.governance.approvals.upkeep import BATCH
from tests.approval_builders import Office
from tests.job_builders import FakeClock


def a_task(name: str) -> ApprovalSubject:
    return ApprovalSubject(SubjectKind.TASK, name, "a task", {"task_id": name})


async def test_many_that_only_wait_keep_none_from_expiring_whose_time_is_over(
    database: Database, tmp_path: Path
) -> None:
    office = Office(database, FakeClock(), tmp_path)
    for number in range(BATCH + 1):
        await office.ask(a_task(f"waiting-{number}"))
    expiring = [await office.ask(a_task(f"short-{number}"), expires_in="1m") for number in range(3)]

    office.wait(10 * LOOK_AGAIN)
    await office.upkeep.attend_due()

    assert [(await office.read(one)).status for one in expiring] == ["expired"] * 3
