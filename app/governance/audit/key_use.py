"""Who came in, once a day and key, and who was refused what: what authentication leaves in the audit trail."""

from collections.abc import Callable
from datetime import date, timedelta

from starlette.types import Scope

from app.clock import Clock
from app.governance.audit.trail import AuditTrail
from app.http.client_address import ClientAddresses
from app.http.rate_limit import FailedAttempts
from app.identity.principals import Principal

UNKNOWN = "unknown"
# More would let strangers fill the trail; how many were left out is in the next entry.
MOST_REFUSALS = 60
WINDOW = timedelta(minutes=1)
_MOST_PATH = 128
# What comes behind it is a credential.
_LINKS = "/v1/approvals/links/"

FindTrail = Callable[[Scope], AuditTrail]


def trail_of(scope: Scope) -> AuditTrail:
    trail: AuditTrail = scope["app"].state.core.audit
    return trail


class KeyUse:
    """Called for every request that was let in; records the first of each key and day that this process sees."""

    def __init__(self, *, clock: Clock, find_trail: FindTrail = trail_of) -> None:
        self._clock = clock
        self._find_trail = find_trail
        self._day = date.min
        self._seen: set[str] = set()

    def __call__(self, scope: Scope, principal: Principal) -> None:
        today = self._clock().date()
        if today != self._day:
            self._day, self._seen = today, set()
        if principal.key_id not in self._seen:
            self._seen.add(principal.key_id)
            detail = {"role": principal.role.value, "day": today.isoformat()}
            self._find_trail(scope).record_soon(
                principal.tenant_id, "key.used", principal.key_id, {"key_id": principal.key_id}, detail
            )


class Ration:
    """So many entries in a `WINDOW`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock() - WINDOW
        self._recorded = 0
        self._left_out = 0

    def take(self) -> int | None:
        """How many were left out since the last one; None when this one is to be left out, too."""
        now = self._clock()
        if now - self._since >= WINDOW:
            self._since, self._recorded = now, 0
        if self._recorded >= MOST_REFUSALS:
            self._left_out += 1
            return None
        self._recorded += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


class Denials:
    """Called for every request that its key may not make; records up to so many a minute and tenant, and counts."""

    def __init__(self, *, clock: Clock, find_trail: FindTrail = trail_of) -> None:
        self._clock = clock
        self._find_trail = find_trail
        self._rations: dict[str, Ration] = {}

    def __call__(self, scope: Scope, principal: Principal) -> None:
        ration = self._rations.setdefault(principal.tenant_id, Ration(self._clock))
        left_out = ration.take()
        if left_out is not None:
            detail = {"method": scope["method"], "role": principal.role.value, "left_out": left_out}
            self._find_trail(scope).record_soon(
                principal.tenant_id, "access.denied", principal.key_id, {"path": _path(scope)}, detail
            )


class RefusedKeys:
    """`FailedAttempts` that leave their mark: an entry each, up to so many a minute, then their number.

    Whose tenant a wrong key was meant for nobody knows: they are recorded in that of the deployment.
    """

    def __init__(
        self,
        attempts: FailedAttempts,
        addresses: ClientAddresses,
        *,
        tenant_id: str,
        clock: Clock,
        find_trail: FindTrail = trail_of,
    ) -> None:
        self._attempts = attempts
        self._addresses = addresses
        self._tenant_id = tenant_id
        self._find_trail = find_trail
        self._ration = Ration(clock)

    async def __call__(self, scope: Scope) -> None:
        """Raises `RateLimited` where `FailedAttempts` does."""
        self._note(scope)
        await self._attempts(scope)

    def _note(self, scope: Scope) -> None:
        left_out = self._ration.take()
        if left_out is not None:
            detail = {"method": scope["method"], "path": _path(scope), "left_out": left_out}
            self._find_trail(scope).record_soon(
                self._tenant_id, "key.refused", UNKNOWN, {"address": self._addresses.of(scope)}, detail
            )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return f"{_LINKS}…" if path.startswith(_LINKS) else path[:_MOST_PATH]
