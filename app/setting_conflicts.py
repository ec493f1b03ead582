"""Settings that are fine one by one and wrong together: pure."""

from typing import Protocol

Rule = tuple[bool, str]


class Times(Protocol):
    """Durations, as the settings have them."""

    @property
    def lease_sec(self) -> float: ...
    @property
    def heartbeat_sec(self) -> float: ...
    @property
    def sweep_sec(self) -> float: ...
    @property
    def redispatch_sec(self) -> float: ...
    @property
    def retry_initial_sec(self) -> float: ...
    @property
    def retry_maximum_sec(self) -> float: ...
    @property
    def retry_total_sec(self) -> float: ...
    @property
    def circuit_failures(self) -> int: ...
    @property
    def circuit_open_sec(self) -> float: ...
    @property
    def circuit_open_max_sec(self) -> float: ...
    @property
    def task_retention_days(self) -> float: ...
    @property
    def dead_letter_retention_days(self) -> float: ...


def conflicts_of(times: Times) -> list[str]:
    """What is wrong with each impossible or dangerous combination, and what to do about it.

    MONGO_TIMEOUT_SEC is in none: the heartbeat limits its own writes by HEARTBEAT_SEC (`connect_blocking`), so that a
    worker fences itself in time however long other operations may wait.
    """
    rules = (*_rules_of_leases(times), *_rules_of_retries(times), *_rules_of_retention(times))
    return [advice for holds, advice in rules if not holds]


def _rules_of_leases(times: Times) -> tuple[Rule, ...]:
    return (
        (
            # A renewal may begin two intervals after the last good one and take most of a third to fail.
            times.heartbeat_sec * 3 <= times.lease_sec,
            "HEARTBEAT_SEC must be at most a third of LEASE_SEC: lower it or raise LEASE_SEC",
        ),
        (
            times.sweep_sec < times.lease_sec,
            "SWEEP_SEC must be below LEASE_SEC: lower it, or a lost worker's jobs wait for the sweep",
        ),
        (
            times.sweep_sec <= times.redispatch_sec,
            "REDISPATCH_SEC must be at least SWEEP_SEC: raise it, since the sweep is who rings again",
        ),
    )


def _rules_of_retries(times: Times) -> tuple[Rule, ...]:
    unlimited = times.retry_total_sec == 0
    return (
        (
            times.retry_initial_sec <= times.retry_maximum_sec,
            "RETRY_INITIAL_SEC must not exceed RETRY_MAXIMUM_SEC: lower it or raise RETRY_MAXIMUM_SEC",
        ),
        (
            unlimited or times.retry_total_sec > times.retry_initial_sec,
            "RETRY_TOTAL_SEC must be 0 or above RETRY_INITIAL_SEC: raise it, or no task is ever retried",
        ),
        (
            times.circuit_open_sec <= times.circuit_open_max_sec,
            "CIRCUIT_OPEN_SEC must not exceed CIRCUIT_OPEN_MAX_SEC: lower it or raise CIRCUIT_OPEN_MAX_SEC",
        ),
        (
            unlimited or not times.circuit_failures or times.retry_total_sec > times.circuit_open_sec,
            "RETRY_TOTAL_SEC must be 0 or above CIRCUIT_OPEN_SEC: raise it, or no task outlives an open circuit",
        ),
    )


def _rules_of_retention(times: Times) -> tuple[Rule, ...]:
    return (
        (
            _is_off_or_a_day(times.task_retention_days),
            "TASK_RETENTION_DAYS must be 0 or at least 1: an Idempotency-Key names its task for a day",
        ),
        (
            _is_off_or_a_day(times.dead_letter_retention_days),
            "DEAD_LETTER_RETENTION_DAYS must be 0 or at least 1: an Idempotency-Key names its task for a day",
        ),
    )


def _is_off_or_a_day(days: float) -> bool:
    return days == 0 or days >= 1
