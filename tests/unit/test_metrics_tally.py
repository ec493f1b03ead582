"""The numbers of a batch follow from the histories in it, and every entry counts exactly once."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.history import new_entry
from app.jobs.models import Reason, Status
from app.metrics.sketch import RELATIVE_ERROR, bucket_of, merged, quantile
from app.metrics.tally import ALL_TIME, tally
from tests.job_builders import NOON, SECOND, TENANT

TODAY = NOON.date().isoformat()
COMPLETED = [
    new_entry(Status.QUEUED, NOON, Reason.ACCEPTED),
    new_entry(Status.PROCESSING, NOON + SECOND, Reason.CLAIMED),
    new_entry(Status.COMPLETED, NOON + 2 * SECOND, Reason.FINISHED, label="CodeAgent"),
]
FAILED_THEN_COMPLETED = [
    new_entry(Status.QUEUED, NOON, Reason.ACCEPTED),
    new_entry(Status.PROCESSING, NOON, Reason.CLAIMED),
    new_entry(Status.FAILED, NOON + SECOND, Reason.FAILED, label="CodeAgent"),
    new_entry(Status.QUEUED, NOON + 100 * SECOND, Reason.RETRIED),
    new_entry(Status.PROCESSING, NOON + 101 * SECOND, Reason.CLAIMED),
    new_entry(Status.COMPLETED, NOON + 103 * SECOND, Reason.FINISHED, label="ContentAgent"),
]


def a_finished_job(history: list[dict[str, Any]], *, counted: int = 0) -> dict[str, Any]:
    return {"_id": "t1", "tenant_id": TENANT, "created_at": NOON, "history": history, "counted_seq": counted}


def test_a_finished_job_counts_for_its_day_and_for_all_time() -> None:
    tallies = tally([a_finished_job(COMPLETED)])

    assert set(tallies) == {(TENANT, TODAY), (TENANT, ALL_TIME)}
    sums = tallies[TENANT, TODAY].increments
    assert sums["total"] == 1
    assert sums["statuses.completed"] == 1
    assert sums["agents.CodeAgent"] == 1
    assert sums["latency.sum"] == 2000


def test_what_was_counted_before_is_not_counted_again() -> None:
    assert tally([a_finished_job(COMPLETED, counted=3)]) == {}


def test_a_retry_takes_back_the_failure_it_follows() -> None:
    sums = tally([a_finished_job(FAILED_THEN_COMPLETED)])[TENANT, TODAY].increments

    assert sums["total"] == 1
    assert sums["statuses.failed"] == 0
    assert sums["statuses.completed"] == 1
    assert sums["agents.CodeAgent"] == 0
    assert sums["agents.ContentAgent"] == 1
    assert sums["latency.count"] == 1
    assert sums["latency.sum"] == 3000


def test_what_is_taken_back_was_the_agent_of_that_time_whatever_the_job_says_now() -> None:
    now = {"selected_agent": "EchoAgent"}

    before = tally([{**a_finished_job(FAILED_THEN_COMPLETED[:3]), **now}])[TENANT, ALL_TIME].increments
    after = tally([{**a_finished_job(FAILED_THEN_COMPLETED[:4], counted=3), **now}])[TENANT, ALL_TIME].increments

    assert (before["agents.CodeAgent"], after["agents.CodeAgent"]) == (1, -1)
    assert "agents.EchoAgent" not in {**before, **after}


def test_a_job_that_ended_before_it_had_an_agent_counts_for_none() -> None:
    cancelled = [COMPLETED[0], new_entry(Status.CANCELLED, NOON, Reason.CANCELLED)]

    sums = tally([a_finished_job(cancelled)])[TENANT, ALL_TIME].increments

    assert sums == {"total": 1, "statuses.cancelled": 1}


def test_whole_milliseconds_stay_whole() -> None:
    took = [new_entry(Status.COMPLETED, NOON + timedelta(milliseconds=1001), Reason.FINISHED)]

    assert tally([a_finished_job(took)])[TENANT, ALL_TIME].increments["latency.sum"] == 1001


@given(split=st.integers(0, 6))
def test_counting_in_two_passes_gives_the_same_sums_as_in_one(split: int) -> None:
    whole = tally([a_finished_job(FAILED_THEN_COMPLETED)])[TENANT, ALL_TIME].increments
    passes = [
        tally([a_finished_job(FAILED_THEN_COMPLETED[:split])]),
        tally([a_finished_job(FAILED_THEN_COMPLETED, counted=split)]),
    ]

    summed: dict[str, float] = {}
    for one in passes:
        if (TENANT, ALL_TIME) in one:
            for name, value in one[TENANT, ALL_TIME].increments.items():
                summed[name] = summed.get(name, 0) + value

    assert {name: value for name, value in summed.items() if value} == {k: v for k, v in whole.items() if v}


@given(values=st.lists(st.floats(1, 1e7), min_size=1, max_size=200), q=st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_right_within_one_percent(values: list[float], q: float) -> None:
    sketch = merged([{bucket_of(value): 1} for value in values])
    exact = sorted(values)[int(q * (len(values) - 1))]

    assert quantile(sketch, q) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile({}, 0.95) is None


def test_a_day_ends_at_midnight_utc() -> None:
    late = [new_entry(Status.COMPLETED, NOON + timedelta(hours=13), Reason.FINISHED)]

    assert (TENANT, "2026-11-22") in tally([a_finished_job(late)])


def charged(
    reason: Reason, status: Status, *, after: timedelta, tokens: int, agent: str = "CodeAgent"
) -> dict[str, Any]:
    note = {"agent": agent, "tokens": tokens, "model_calls": tokens // 10, "nano_usd": tokens * 3}
    return {**new_entry(status, NOON + after, reason), "noted": {"cost": note}}


# What the task has cost so far, as each of its attempts left it; the second ended a day later.
PAID_TWICE = [
    COMPLETED[0],
    COMPLETED[1],
    charged(Reason.RETRY_SCHEDULED, Status.QUEUED, after=SECOND, tokens=100, agent="PeerAgent"),
    COMPLETED[1],
    charged(Reason.FAILED, Status.FAILED, after=timedelta(days=1), tokens=130),
    new_entry(Status.QUEUED, NOON + timedelta(days=2), Reason.RETRIED),
    new_entry(Status.CANCELLED, NOON + timedelta(days=2), Reason.CANCELLED),
]
TOMORROW = (NOON + timedelta(days=1)).date().isoformat()


def test_what_an_attempt_consumed_counts_for_the_day_it_ended_and_a_retry_does_not_take_it_back() -> None:
    tallies = tally([a_finished_job(PAID_TWICE)])

    today, tomorrow = (tallies[TENANT, day].increments for day in (TODAY, TOMORROW))
    assert (today["usage.tokens"], today["agent_usage.PeerAgent.tokens"]) == (100, 100)
    assert (tomorrow["usage.tokens"], tomorrow["agent_usage.CodeAgent.nano_usd"]) == (30, 90)
    assert tallies[TENANT, TODAY].first_at == NOON


@given(st.integers(min_value=0, max_value=len(PAID_TWICE)))
def test_wherever_the_counting_stopped_nothing_is_paid_twice_or_lost(place: int) -> None:
    parts = [a_finished_job(PAID_TWICE[:place]), a_finished_job(PAID_TWICE, counted=place)]

    tokens = sum(sums.increments["usage.tokens"] for part in parts for sums in tally([part]).values())

    assert tokens == 130
