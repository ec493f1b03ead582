"""Times that cannot work together stop the start, with the variable's name and what to do."""

import pytest

from app.settings import ConfigurationError, Settings, load_settings


def refusal(**given: float) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(_env_file=None, **given)
    return refused.value.message


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"heartbeat_sec": 6}, "HEARTBEAT_SEC must be at most a third of LEASE_SEC"),
        ({"sweep_sec": 15, "redispatch_sec": 20}, "SWEEP_SEC must be below LEASE_SEC"),
        ({"sweep_sec": 10, "redispatch_sec": 5}, "REDISPATCH_SEC must be at least SWEEP_SEC"),
        ({"redispatch_sec": 61}, "REDISPATCH_SEC: Input should be less than or equal to 60"),
        ({"retry_initial_sec": 61}, "RETRY_INITIAL_SEC must not exceed RETRY_MAXIMUM_SEC"),
        ({"retry_initial_sec": 30, "retry_total_sec": 30}, "RETRY_TOTAL_SEC must be 0 or above RETRY_INITIAL_SEC"),
        ({"retry_total_sec": 10}, "RETRY_TOTAL_SEC must be 0 or above CIRCUIT_OPEN_SEC"),
        ({"circuit_open_sec": 121}, "CIRCUIT_OPEN_SEC must not exceed CIRCUIT_OPEN_MAX_SEC"),
        ({"task_retention_days": 0.5}, "TASK_RETENTION_DAYS must be 0 or at least 1"),
        ({"dead_letter_retention_days": 0.5}, "DEAD_LETTER_RETENTION_DAYS must be 0 or at least 1"),
    ],
)
def test_times_that_contradict_each_other_are_refused(given: dict[str, float], advice: str) -> None:
    assert advice in refusal(**given)


def test_all_contradictions_are_told_at_once() -> None:
    message = refusal(heartbeat_sec=10, retry_initial_sec=100)

    assert "HEARTBEAT_SEC" in message
    assert "RETRY_INITIAL_SEC" in message


def test_a_lease_shorter_than_the_stores_patience_is_fine() -> None:
    quick = load_settings(_env_file=None, lease_sec=2, heartbeat_sec=0.5, sweep_sec=0.2, redispatch_sec=1)

    assert quick.mongo_timeout_sec > quick.lease_sec


def test_the_defaults_fit_together_and_a_lost_worker_is_noticed_in_fifteen_seconds() -> None:
    assert load_settings(_env_file=None).lease_sec == Settings.model_fields["lease_sec"].default <= 15
