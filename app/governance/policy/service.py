"""The use cases of a tenant's policy: store, read, remove, ask, and try out on past tasks."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from app.errors import Invalid
from app.governance.policy.deciding import Decision
from app.governance.policy.facts import Facts, read_facts
from app.governance.policy.gate import Held, PolicyGate, decided_by
from app.governance.policy.loading import load_policy
from app.governance.policy.models import Effect, FactKind, PolicyChanged, PolicyNotFound
from app.governance.policy.policy import Policy
from app.governance.policy.repository import Current, PolicyRepository, Version
from app.http.pagination import MOST_COUNTED, Page, PageParams

# Compiling takes a processor; more at once would make other requests slower.
MOST_AT_ONCE = 2

# Keeps what is done in the block that it is entered for: the tenant, the kind of act, who, to what, and the details.
Around = Callable[[str, str, str, Mapping[str, str], Mapping[str, Any]], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """``current`` is None for what the deployment configures, whose text is not shown."""

    policy_digest: str
    text: str | None
    current: Current | None


class Tried(StrEnum):
    """What a policy is tried out on."""

    TASKS = "tasks"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class PastWork:
    """A task or a step as its policy would have seen it; ``ids`` say whose it is.

    ``created_at`` is when it was submitted, or its execution was started.
    """

    id: str
    created_at: datetime
    facts: Facts
    ids: Mapping[str, str]


class History(Protocol):
    async def __call__(
        self, tenant_id: str, *, since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[PastWork]:
        """What was to be decided about, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Which past work: the newest ``limit`` of these between two moments."""

    of: Tried
    since: datetime | None
    until: datetime | None
    limit: int


@dataclass(frozen=True, slots=True)
class Change:
    """What would have been decided otherwise."""

    work: PastWork
    before: Decision
    after: Decision


@dataclass(frozen=True, slots=True)
class DryRun:
    """``before`` and ``after`` count what was examined by what is decided about it."""

    digest: str
    examined: Sequence[PastWork]
    before: Mapping[Effect, int]
    after: Mapping[Effect, int]
    changes: Sequence[Change]


class PolicyService:
    def __init__(
        self, repository: PolicyRepository, gate: PolicyGate, past: Mapping[Tried, History], *, around: Around
    ) -> None:
        """``around`` a change it is kept in the audit trail, whatever becomes of this process meanwhile."""
        self._repository = repository
        self._gate = gate
        self._past = past
        self._around = around
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def validate(self, text: str) -> Policy:
        """What would be stored. Raises `PolicyInvalid` with all problems."""
        async with self._slots:
            return await asyncio.to_thread(load_policy, text)

    async def put(self, tenant_id: str, text: str, *, by: str, expected: str | None = None) -> StoredPolicy:
        """Let this policy hold from now on, everywhere within seconds.

        Raises `PolicyInvalid`, and `PolicyChanged` when ``expected`` is given and not the current version so far.
        """
        policy = await self.validate(text)
        before = await self._repository.find(tenant_id)
        if expected is not None and (before is None or before.digest != expected):
            raise _changed()
        # The version first: after a crash in between the current one is still there.
        await self._repository.keep_version(tenant_id, policy.digest, text, by=by)
        detail = {"digest": policy.digest, "before": before.digest if before else None}
        async with self._around(tenant_id, "policy.put", by, {"policy": policy.digest}, detail):
            if not await self._repository.make_current(tenant_id, policy.digest, by=by, expected=expected):
                raise _changed()
        await self._gate.read_again(tenant_id)
        return await self.get(tenant_id)

    async def get(self, tenant_id: str) -> StoredPolicy:
        """What holds for the tenant. Raises `PolicyNotFound` when nothing does."""
        current = await self._repository.find(tenant_id)
        if current is not None:
            text = await self._repository.find_text(tenant_id, current.digest)
            return StoredPolicy(current.digest, text, current)
        if self._gate.configured is not None:
            return StoredPolicy(self._gate.configured.digest, None, None)
        raise PolicyNotFound("no policy is stored, and POLICY_FILE names none: everything is allowed")

    async def get_version(self, tenant_id: str, digest: str) -> str:
        """The text of a version. Raises `PolicyNotFound`."""
        text = await self._repository.find_text(tenant_id, digest)
        if text is None:
            raise PolicyNotFound(f"there is no version {digest!r} of the policy", digest=digest)
        return text

    async def list_versions(self, tenant_id: str, params: PageParams) -> tuple[str | None, Page[Version]]:
        """The digest that holds, and all that were ever stored, newest first."""
        current, found, total = await asyncio.gather(
            self._repository.find(tenant_id),
            self._repository.list_versions(tenant_id, limit=params.page_size + 1, skip=params.skip, after=params.after),
            self._repository.count_versions(tenant_id, limit=MOST_COUNTED),
        )
        return current.digest if current else None, Page.of(found, params, total=total)

    async def delete(self, tenant_id: str, *, by: str, expected: str | None = None) -> None:
        """What the deployment configures holds from now on. Raises `PolicyNotFound` and `PolicyChanged`."""
        current = await self._repository.find(tenant_id)
        if current is None:
            raise PolicyNotFound("no policy is stored")
        if expected is not None and current.digest != expected:
            raise _changed()
        digest = current.digest
        async with self._around(tenant_id, "policy.deleted", by, {"policy": digest}, {"digest": digest}):
            if not await self._repository.remove(tenant_id, by=by, expected=digest):
                raise _changed()
        await self._gate.read_again(tenant_id)

    async def decide(self, tenant_id: str, kind: FactKind, document: Mapping[str, Any]) -> Decision:
        """What would be decided now; nothing comes of it. Raises `Invalid` for facts that there are not."""
        facts, problems = read_facts(kind, document)
        if problems:
            path, message = problems[0]
            raise Invalid(f"facts.{'.'.join(path)}: {message}", field=f"facts.{'.'.join(path)}")
        return decided_by(await self._gate.read_again(tenant_id), facts)

    async def dry_run(self, tenant_id: str, text: str, window: Window) -> DryRun:
        """What this policy would have decided about past work, beside what holds now. Raises `PolicyInvalid`."""
        policy = await self.validate(text)
        held = await self._gate.read_again(tenant_id)
        history = self._past[window.of]
        past = await history(tenant_id, since=window.since, until=window.until, limit=window.limit)
        # One by one: hundreds of slow conditions together would keep others from their answers.
        found = [await asyncio.to_thread(_compared, held, policy, one) for one in past]
        return DryRun(
            policy.digest,
            past,
            Counter(one.before.effect for one in found),
            Counter(one.after.effect for one in found),
            [one for one in found if one.before.effect is not one.after.effect],
        )


def _compared(held: Held, policy: Policy, work: PastWork) -> Change:
    return Change(work, decided_by(held, work.facts), decided_by(policy, work.facts))


def _changed() -> PolicyChanged:
    return PolicyChanged("the policy has another version than If-Match says: read it again")
