"""Which policy holds for a tenant, and what it decides: the tenant's own, else the deployment's, else none."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from app.governance.policy.deciding import ALLOWED, Decision, decide
from app.governance.policy.facts import Facts
from app.governance.policy.loading import PolicyInvalid, load_policy
from app.governance.policy.models import Effect
from app.governance.policy.policy import Policy
from app.governance.policy.repository import PolicyRepository

log = structlog.get_logger(__name__)

# How long what was read is believed, in seconds: a policy that was stored holds everywhere after it.
READ_AGE = 5.0
MOST_TENANTS = 1000
MOST_COMPILED = 256


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored policy that this version of the product cannot read, so that it denies everything."""

    digest: str

    def decision(self) -> Decision:
        reason = "the stored policy cannot be read by this version: store it again with `orchestrate policy put`"
        return Decision(Effect.DENY, None, (reason,), None, self.digest)


Held = Policy | Unreadable | None


@dataclass(slots=True)
class _Read:
    held: Held
    at: float


class PolicyGate:
    """All its methods belong to the event loop."""

    def __init__(
        self,
        repository: PolicyRepository,
        configured: Policy | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``configured`` holds for tenants that have stored none."""
        self.configured = configured
        self._repository = repository
        self._monotonic = monotonic
        self._read: OrderedDict[str, _Read] = OrderedDict()
        self._compiled: OrderedDict[str, Held] = OrderedDict()
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def check(self, tenant_id: str, facts: Facts) -> Decision:
        """Raises what the store raises: where nobody knows the policy, nothing goes on."""
        return decided_by(await self.policy_of(tenant_id), facts)

    async def governs(self, tenant_id: str) -> bool:
        """Whether there is a policy at all."""
        return await self.policy_of(tenant_id) is not None

    async def policy_of(self, tenant_id: str) -> Held:
        """As it was a moment ago."""
        known = self._read.get(tenant_id)
        if known is not None and self._monotonic() - known.at < READ_AGE:
            return known.held
        lock = self._reading.setdefault(tenant_id, asyncio.Lock())
        async with lock:
            # Whoever was first has read it for all that came meanwhile.
            read = self._read.get(tenant_id)
            if read is not None and read is not known:
                return read.held
            return await self.read_again(tenant_id)

    async def read_again(self, tenant_id: str) -> Held:
        """As it is now."""
        current = await self._repository.find(tenant_id)
        held = self.configured if current is None else await self._stored(tenant_id, current.digest)
        self._read[tenant_id] = _Read(held, self._monotonic())
        self._read.move_to_end(tenant_id)
        if len(self._read) > MOST_TENANTS:
            self._read.popitem(last=False)
        return held

    async def _stored(self, tenant_id: str, digest: str) -> Held:
        if digest not in self._compiled:
            text = await self._repository.find_text(tenant_id, digest)
            # It may take a second, in which others would wait.
            self._compiled[digest] = await asyncio.to_thread(_compiled, text, digest)
            if len(self._compiled) > MOST_COMPILED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(digest)
        return self._compiled[digest]


def decided_by(held: Held, facts: Facts) -> Decision:
    if held is None:
        return ALLOWED
    return held.decision() if isinstance(held, Unreadable) else decide(held, facts)


def _compiled(text: str | None, digest: str) -> Held:
    try:
        policy = load_policy(text or "")
    except PolicyInvalid as error:
        log.error("policy.unreadable", digest=digest, error_type=error.code)
        return Unreadable(digest)
    # What was stored under this digest and means something else now was tampered with, or comes from another version.
    return policy if policy.digest == digest else Unreadable(digest)
