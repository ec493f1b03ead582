"""What authentication leaves in the audit trail: little, whatever strangers do."""

from datetime import timedelta
from typing import Any

import pytest

from app.database.documents import Documents
from app.errors import RateLimited
from app.governance.audit.entries import Entry
from app.governance.audit.key_use import MOST_REFUSALS, WINDOW, Denials, KeyUse, RefusedKeys
from app.governance.audit.repository import COLLECTION, AuditRepository
from app.governance.audit.trail import AuditTrail
from app.http.client_address import ClientAddresses
from app.http.rate_limit import FailedAttempts, RateLimiter
from app.identity.principals import Principal
from app.observability.redaction import Redactor
from app.settings import Role
from tests.fakes.mongo import fake_mongo
from tests.job_builders import OTHER_TENANT, TENANT, FakeClock

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/v1/" + "x" * 500,
    "client": ("192.0.2.7", 1),
    "headers": [],
}


class Door:
    """One API process's hooks, and the trail that they write."""

    def __init__(self, *, per_minute: int = 0) -> None:
        self.clock = FakeClock()
        self._repository = AuditRepository(Documents(fake_mongo()["tests"][COLLECTION]))
        self._trail = AuditTrail(self._repository, Redactor(), clock=self.clock, on_lost=lambda: None)
        addresses = ClientAddresses()
        self.refuse = RefusedKeys(
            FailedAttempts(RateLimiter(per_minute=per_minute), addresses),
            addresses,
            tenant_id=TENANT,
            clock=self.clock,
            find_trail=lambda _scope: self._trail,
        )
        self.admit = KeyUse(clock=self.clock, find_trail=lambda _scope: self._trail)
        self.deny = Denials(clock=self.clock, find_trail=lambda _scope: self._trail)

    async def entries(self, tenant_id: str = TENANT) -> list[Entry]:
        await self._trail.close()
        return [entry async for entry in self._repository.read_chain(tenant_id)]


async def test_a_key_is_noted_once_a_day_in_its_own_tenant() -> None:
    door = Door()
    mine, theirs = Principal(TENANT, Role.MEMBER, "k1"), Principal(OTHER_TENANT, Role.ADMIN, "k2")

    for _ in range(2):
        for principal in (mine, theirs, mine):
            door.admit(SCOPE, principal)
        door.clock.advance(timedelta(days=1))

    noted = [(entry["kind"], entry["actor"], entry["detail"]) for entry in await door.entries()]
    assert noted == [
        ("key.used", "k1", {"role": "member", "day": "2026-11-21"}),
        ("key.used", "k1", {"role": "member", "day": "2026-11-22"}),
    ]
    assert len(await door.entries(OTHER_TENANT)) == 2


async def test_refusals_are_noted_up_to_a_number_and_then_counted() -> None:
    door = Door()

    for _ in range(MOST_REFUSALS + 7):
        await door.refuse(SCOPE)
    door.clock.advance(WINDOW)
    for _ in range(2):
        await door.refuse(SCOPE)

    entries = await door.entries()
    assert [entry["detail"]["left_out"] for entry in entries[MOST_REFUSALS - 1 :]] == [0, 7, 0]
    assert {entry["subject"]["address"] for entry in entries} == {"192.0.2.7"}
    assert max(len(entry["detail"]["path"]) for entry in entries) == 128


async def test_an_address_that_tries_too_often_is_refused_as_before_and_noted_all_the_same() -> None:
    door = Door(per_minute=1)

    await door.refuse(SCOPE)
    with pytest.raises(RateLimited):
        await door.refuse(SCOPE)

    assert len(await door.entries()) == 2


async def test_what_keys_may_not_do_is_noted_up_to_a_number_in_each_tenant() -> None:
    door = Door()
    mine, theirs = Principal(TENANT, Role.VIEWER, "k1"), Principal(OTHER_TENANT, Role.VIEWER, "k2")

    for _ in range(MOST_REFUSALS + 7):
        door.deny(SCOPE, mine)
    door.deny(SCOPE, theirs)
    door.clock.advance(WINDOW)
    door.deny(SCOPE, mine)

    entries, [other] = await door.entries(), await door.entries(OTHER_TENANT)
    assert [entry["detail"]["left_out"] for entry in entries[MOST_REFUSALS - 1 :]] == [0, 7]
    assert {(entry["kind"], entry["actor"]) for entry in entries} == {("access.denied", "k1")}
    assert (other["actor"], other["detail"]) == ("k2", {"method": "GET", "role": "viewer", "left_out": 0})


async def test_the_token_of_a_signed_link_is_not_noted() -> None:
    door = Door()
    scope = {**SCOPE, "path": "/v1/approvals/links/a-token"}

    await door.refuse(scope)
    door.deny(scope, Principal(TENANT, Role.VIEWER, "k1"))

    refused, denied = await door.entries()
    assert (refused["detail"]["path"], denied["subject"]["path"]) == ("/v1/approvals/links/…", "/v1/approvals/links/…")
