"""Back-pressure decides from a count that is a moment old."""

import pytest

from app.tasks.admission import Admission, BacklogFull, TenantBacklogFull


class Waiting:
    """What a store would count, and how often it was asked."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.asked = 0
        self.seconds = 0.0

    async def count(self, tenant_id: str | None, limit: int) -> int:
        self.asked += 1
        return min(self.number, limit)

    def admission(self, *, most: int = 0, most_per_tenant: int = 0) -> Admission:
        return Admission(self.count, most=most, most_per_tenant=most_per_tenant, monotonic=lambda: self.seconds)


async def test_without_limits_nothing_is_counted() -> None:
    waiting = Waiting(1_000_000)

    await waiting.admission().admit("acme")

    assert waiting.asked == 0


async def test_a_full_backlog_refuses_everybody_and_says_when_to_come_back() -> None:
    with pytest.raises(BacklogFull) as refused:
        await Waiting(10).admission(most=10).admit("acme")

    assert refused.value.status == 503
    assert refused.value.retry_after is not None


async def test_a_tenant_with_a_full_backlog_is_refused() -> None:
    with pytest.raises(TenantBacklogFull) as refused:
        await Waiting(3).admission(most_per_tenant=3).admit("acme")

    assert refused.value.status == 429
    assert refused.value.retry_after is not None


async def test_between_two_counts_what_is_accepted_counts() -> None:
    admission = Waiting(7).admission(most=10)
    for _ in range(3):
        await admission.admit("acme")

    with pytest.raises(BacklogFull):
        await admission.admit("globex")


async def test_one_tenants_work_is_not_held_against_another() -> None:
    waiting = Waiting(0)
    admission = waiting.admission(most_per_tenant=1)
    await admission.admit("acme")

    await admission.admit("globex")

    with pytest.raises(TenantBacklogFull):
        await admission.admit("acme")


async def test_a_thousand_requests_within_a_second_count_once() -> None:
    waiting = Waiting(0)
    admission = waiting.admission(most=10_000)

    for _ in range(1000):
        await admission.admit("acme")

    assert waiting.asked == 1


async def test_room_is_noticed_at_the_next_count() -> None:
    waiting = Waiting(10)
    admission = waiting.admission(most=10)
    with pytest.raises(BacklogFull):
        await admission.admit("acme")

    waiting.number, waiting.seconds = 5, 1.5

    await admission.admit("acme")
