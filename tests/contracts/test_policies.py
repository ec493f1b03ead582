"""Stored policies on every store: one that holds, versions that never change, and who of many writers wins."""

import asyncio
from dataclasses import dataclass

import pytest

from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.governance.policy import repository
from app.governance.policy.gate import READ_AGE, PolicyGate, Unreadable
from app.governance.policy.loading import load_policy
from app.governance.policy.models import Effect, FactKind
from app.governance.policy.policy import Policy
from app.governance.policy.repository import POLICIES, VERSIONS, PolicyRepository
from app.http.pagination import Cursor
from tests.contracts.store_outcomes import Database
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock
from tests.policy_builders import facts

BY = "key-1"
DENY, ALLOW = "version: 1\ndefault: deny\n", "version: 1\ndefault: allow\n"


@dataclass
class Policies:
    repository: PolicyRepository
    clock: FakeClock
    database: Database

    async def put(self, text: str, *, tenant: str = TENANT, expected: str | None = None) -> str | None:
        """The digest, if it holds now."""
        digest = load_policy(text).digest
        await self.repository.keep_version(tenant, digest, text, by=BY)
        made = await self.repository.make_current(tenant, digest, by=BY, expected=expected)
        self.clock.advance(SECOND)
        return digest if made else None

    async def current(self, tenant: str = TENANT) -> str | None:
        found = await self.repository.find(tenant)
        return found.digest if found else None


@pytest.fixture
async def policies(db: Database) -> Policies:
    await ensure_indexes(db, repository.INDEXES)
    clock = FakeClock(NOON)
    return Policies(PolicyRepository(Documents(db[POLICIES]), Documents(db[VERSIONS]), clock=clock), clock, db)


async def test_the_policy_that_was_put_last_holds_for_its_tenant_alone(policies: Policies) -> None:
    first, second = await policies.put(DENY), await policies.put(ALLOW)

    assert await policies.current() == second
    assert await policies.current(OTHER_TENANT) is None
    assert first is not None
    assert await policies.repository.find_text(TENANT, first) == DENY
    assert await policies.repository.find_text(OTHER_TENANT, first) is None


async def test_only_who_knows_the_current_version_may_replace_it(policies: Policies) -> None:
    first = await policies.put(DENY)

    assert await policies.put(ALLOW, expected="sha256:another") is None
    assert await policies.current() == first
    assert await policies.put(ALLOW, expected=first) is not None


async def test_of_many_who_replace_the_same_version_at_once_one_wins(policies: Policies) -> None:
    first = await policies.put(DENY)
    texts = [f"version: 1\nname: policy-{number}\n" for number in range(5)]

    made = await asyncio.gather(*(policies.put(text, expected=first) for text in texts))

    (winner,) = [digest for digest in made if digest]
    assert await policies.current() == winner


async def test_many_first_policies_at_once_leave_one(policies: Policies) -> None:
    texts = [f"version: 1\nname: policy-{number}\n" for number in range(5)]

    made = await asyncio.gather(*(policies.put(text) for text in texts))

    assert await policies.current() in made
    assert await policies.repository.count_versions(TENANT, limit=10) == 5


async def test_what_was_removed_holds_no_longer_and_can_be_put_again(policies: Policies) -> None:
    first = await policies.put(DENY)

    assert not await policies.repository.remove(TENANT, by=BY, expected="sha256:another")
    assert await policies.repository.remove(TENANT, by=BY, expected=first)
    assert not await policies.repository.remove(TENANT, by=BY)
    assert await policies.current() is None
    assert await policies.put(ALLOW, expected=first) is None
    assert await policies.put(DENY) == first


async def test_versions_are_listed_once_newest_first_and_page_by_page(policies: Policies) -> None:
    for text in (DENY, ALLOW, DENY, "version: 1\nname: third\n"):
        await policies.put(text)

    found = await policies.repository.list_versions(TENANT, limit=10)
    behind = Cursor(found[0].created_at, found[0].digest)

    digests = [one.digest for one in found]
    assert digests[1:] == [load_policy(ALLOW).digest, load_policy(DENY).digest]
    assert [one.digest for one in await policies.repository.list_versions(TENANT, limit=10, after=behind)] == digests[
        1:
    ]
    assert await policies.repository.list_versions(OTHER_TENANT, limit=10) == []


@dataclass
class Seconds:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def test_what_holds_is_read_once_for_a_while(policies: Policies) -> None:
    seconds = Seconds()
    gate = PolicyGate(policies.repository, monotonic=seconds)
    about = facts(FactKind.TASK)

    before = await gate.check(TENANT, about)
    digest = await policies.put(DENY)
    still = await gate.check(TENANT, about)
    seconds.now += READ_AGE
    after = await gate.check(TENANT, about)

    assert [one.effect for one in (before, still, after)] == [Effect.ALLOW, Effect.ALLOW, Effect.DENY]
    assert (before.policy_digest, after.policy_digest) == (None, digest)


async def test_who_asks_at_the_same_time_shares_one_reading(policies: Policies) -> None:
    await policies.put(DENY)
    gate = PolicyGate(policies.repository)

    found = await asyncio.gather(*(gate.policy_of(TENANT) for _ in range(20)))

    assert len({id(one) for one in found}) == 1


async def test_the_deployments_policy_holds_where_a_tenant_has_none(policies: Policies) -> None:
    gate = PolicyGate(policies.repository, load_policy(DENY))
    await policies.put(ALLOW)

    assert (await gate.check(TENANT, facts())).effect is Effect.ALLOW
    assert (await gate.check(OTHER_TENANT, facts())).effect is Effect.DENY


@pytest.mark.parametrize("text", [None, "version: 1\nrules: nonsense", ALLOW])
async def test_a_stored_policy_that_is_not_what_its_digest_says_denies_everything(
    policies: Policies, text: str | None
) -> None:
    digest = await policies.put(DENY)
    versions = policies.database[VERSIONS]
    if text is None:
        await versions.delete_many({})
    else:
        await versions.update_many({}, {"$set": {"source_text": text}})

    gate = PolicyGate(policies.repository)
    decision = await gate.check(TENANT, facts())

    assert isinstance(await gate.policy_of(TENANT), Unreadable)
    assert (decision.effect, decision.policy_digest) == (Effect.DENY, digest)
    assert "cannot be read" in decision.told


async def test_a_policy_is_compiled_once_for_all_tenants_that_have_it(policies: Policies) -> None:
    await policies.put(DENY)
    await policies.put(DENY, tenant=OTHER_TENANT)
    gate = PolicyGate(policies.repository)

    one, other = await gate.policy_of(TENANT), await gate.policy_of(OTHER_TENANT)

    assert isinstance(one, Policy)
    assert one is other
