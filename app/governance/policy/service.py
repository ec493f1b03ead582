"""The use cases of a tenant's policy: store, read, remove, ask, and try out on past tasks."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.errors import Invalid
from app.governance.policy.deciding import Decision
from app.governance.policy.facts import Facts, read_facts
from app.governance.policy.gate import PolicyGate, decided_by
from app.governance.policy.loading import load_policy
from app.governance.policy.models import Effect, FactKind, PolicyChanged, PolicyNotFound
from app.governance.policy.policy import Policy
from app.governance.policy.repository import Current, PolicyRepository, Version
from app.http.pagination import MOST_COUNTED, Page, PageParams

# Compiling takes a processor; more at once would make other requests slower.
MOST_AT_ONCE = 2

Record = Callable[[str, str, str, Mapping[str, str], Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """``current`` is None for what the deployment configures, whose text is not shown."""

    policy_digest: str
    text: str | None
    current: Current | None


@dataclass(frozen=True, slots=True)
class PastTask:
    """A task as its policy would have seen it."""

    id: str
    created_at: datetime
    facts: Facts


class PastTasks(Protocol):
    async def __call__(
        self, tenant_id: str, *, since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[PastTask]:
        """Those that were given to an agent, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """What would have been decided otherwise."""

    task: PastTask
    before: Decision
    after: Decision


@dataclass(frozen=True, slots=True)
class DryRun:
    """``before`` and ``after`` count tasks by what is decided about them."""

    digest: str
    examined: Sequence[PastTask]
    before: Mapping[Effect, int]
    after: Mapping[Effect, int]
    changes: Sequence[Change]


class PolicyService:
    def __init__(self, repository: PolicyRepository, gate: PolicyGate, past: PastTasks, *, record: Record) -> None:
        """``record`` writes to the audit trail."""
        self._repository = repository
        self._gate = gate
        self._past = past
        self._record = record
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
        if not await self._repository.make_current(tenant_id, policy.digest, by=by, expected=expected):
            raise _changed()
        detail = {"digest": policy.digest, "before": before.digest if before else None}
        await self._record(tenant_id, "policy.put", by, {"policy": policy.digest}, detail)
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
        if not await self._repository.remove(tenant_id, by=by, expected=current.digest):
            raise _changed()
        await self._record(tenant_id, "policy.deleted", by, {"policy": current.digest}, {"digest": current.digest})
        await self._gate.read_again(tenant_id)

    async def decide(self, tenant_id: str, kind: FactKind, document: Mapping[str, Any]) -> Decision:
        """What would be decided now; nothing comes of it. Raises `Invalid` for facts that there are not."""
        facts, problems = read_facts(kind, document)
        if problems:
            path, message = problems[0]
            raise Invalid(f"facts.{'.'.join(path)}: {message}", field=f"facts.{'.'.join(path)}")
        return decided_by(await self._gate.read_again(tenant_id), facts)

    async def dry_run(
        self, tenant_id: str, text: str, *, since: datetime | None, until: datetime | None, limit: int
    ) -> DryRun:
        """What this policy would have decided about past tasks, beside what holds now. Raises `PolicyInvalid`."""
        policy = await self.validate(text)
        held = await self._gate.read_again(tenant_id)
        past = await self._past(tenant_id, since=since, until=until, limit=limit)
        found = [Change(one, decided_by(held, one.facts), decided_by(policy, one.facts)) for one in past]
        return DryRun(
            policy.digest,
            past,
            Counter(one.before.effect for one in found),
            Counter(one.after.effect for one in found),
            [one for one in found if one.before.effect is not one.after.effect],
        )


def _changed() -> PolicyChanged:
    return PolicyChanged("the policy has another version than If-Match says: read it again")
