"""What a request records: by the caller's own key and in the caller's own tenant, and nothing else."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import Depends, Request

from app.governance.audit.intents import Intents
from app.governance.audit.trail import NOTHING, AuditTrail
from app.identity.authentication import CurrentPrincipal
from app.identity.principals import Principal


class Recorder:
    """Records acts of one principal; call it after the act."""

    def __init__(self, trail: AuditTrail, intents: Intents, principal: Principal) -> None:
        self._trail = trail
        self._intents = intents
        self._principal = principal

    async def __call__(self, kind: str, subject: Mapping[str, str], detail: Mapping[str, Any] = NOTHING) -> None:
        await self._trail.record(self._principal.tenant_id, kind, self._principal.key_id, subject, detail)

    def around(
        self, kind: str, subject: Mapping[str, str], detail: Mapping[str, Any] = NOTHING
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        """For acts whose trace must not be lost, whenever this process dies: see `Intents.around`."""
        return self._intents.around(self._principal.tenant_id, kind, self._principal.key_id, subject, detail)

    async def if_others(self, kind: str, subject: Mapping[str, str], *, owner: str) -> None:
        """Record what was done to somebody else's work; what people do to their own is in its history."""
        if owner != self._principal.key_id:
            await self(kind, subject, {"owner": owner})


async def _recorder(request: Request, principal: CurrentPrincipal) -> Recorder:
    core = request.app.state.core
    return Recorder(core.audit, core.intents, principal)


Record = Annotated[Recorder, Depends(_recorder)]
