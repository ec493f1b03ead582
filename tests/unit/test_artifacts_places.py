"""Where blobs are: below the day and the id of what they belong to."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.artifacts.places import Part, place_of, place_of_job, place_of_subject
from app.ids import UNDATED, day_of, is_id, new_id
from tests.job_builders import TENANT, a_job

ID = "01ada8b1-2000-7abc-8def-0123456789ab"


def test_an_id_tells_the_day_it_was_made_on() -> None:
    before = datetime.now(UTC)
    fresh = new_id()
    after = datetime.now(UTC)

    assert is_id(fresh)
    assert day_of(fresh) in {f"{moment:%Y/%m/%d}" for moment in (before, after)}
    assert day_of(ID) == "2028/06/23"


def test_ids_grow_and_never_repeat() -> None:
    made = [new_id() for _ in range(1000)]

    assert made == sorted(set(made))


@pytest.mark.parametrize(
    "other", ["5f0c2a52-6f0b-4d0e-9c55-0d2b6d1f3a77", "ffffffff-ffff-7fff-bfff-ffffffffffff", "t1", "", "../../etc"]
)
def test_an_id_without_a_time_has_no_day(other: str) -> None:
    assert day_of(other) == UNDATED


def test_what_belongs_to_a_step_is_below_its_execution() -> None:
    task = replace(a_job(), id=ID)
    step = replace(task, id="s1", document={"execution_id": ID})

    whole = f"{TENANT}/2028/06/23/{ID}"

    assert place_of(TENANT, ID) == whole
    assert place_of_job(task, Part.OUTPUTS) == f"{whole}/outputs"
    assert place_of_job(step, Part.EVALUATIONS) == f"{whole}/evaluations"
    assert place_of_subject(TENANT, {"task_id": ID}, Part.APPROVALS) == f"{whole}/approvals"
    of_step = {"execution_id": ID, "step_id": "s1", "path": "say"}
    assert place_of_subject(TENANT, of_step, Part.APPROVALS) == f"{whole}/approvals"
