"""Whether this process lives, and whether what it depends on answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from app.observability.logging import get_logger

# Succeeds by returning, fails by raising.
Probe = Callable[[], Awaitable[object]]
Health = Mapping[str, bool]

PROBE_TIMEOUT = 1.0
CACHED_FOR = 1.0

log = get_logger(__name__)


class HealthCheck:
    """Asks all probes at once, at most once per `CACHED_FOR` however often it is asked."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        *,
        timeout: float = PROBE_TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = dict(probes)
        self._timeout = timeout
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._health: Health = {}
        self._fresh_until = -1.0

    async def check(self) -> Health:
        """Name → up, within `PROBE_TIMEOUT`."""
        async with self._lock:
            if self._monotonic() >= self._fresh_until:
                self._health = await self._ask()
                self._fresh_until = self._monotonic() + CACHED_FOR
            return self._health

    async def _ask(self) -> Health:
        answers = await asyncio.gather(*(self._is_up(name, probe) for name, probe in self._probes.items()))
        return dict(zip(self._probes, answers, strict=True))

    async def _is_up(self, name: str, probe: Probe) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                await probe()
        except Exception as error:  # noqa: BLE001 - an edge: whatever a probe raises means that it is down
            if self._health.get(name, True):
                log.warning("health.down", dependency=name, error=error)
            return False
        return True


def health_router(check: HealthCheck, *, environment: str) -> APIRouter:
    router = APIRouter(tags=["System"])

    @router.get("/health", response_class=PlainTextResponse, responses={503: {"description": "A dependency is down."}})
    async def health() -> PlainTextResponse:
        """One line for people and load balancers: `ok | mongo=up | redis=up | env=local`."""
        state = await check.check()
        words = ["ok" if all(state.values()) else "degraded"]
        words += [f"{name}={up_or_down(is_up)}" for name, is_up in state.items()]
        return PlainTextResponse(" | ".join([*words, f"env={environment}"]), _status(state))

    @router.get("/health/live")
    async def health_live() -> dict[str, str]:
        """The process answers; says nothing of its dependencies."""
        return {"status": "alive"}

    @router.get("/health/ready", responses={503: {"description": "A dependency is down."}})
    async def health_ready() -> JSONResponse:
        """Whether requests can be served now."""
        state = await check.check()
        checks = {name: up_or_down(is_up) for name, is_up in state.items()}
        content: dict[str, Any] = {"status": "ready" if all(state.values()) else "unavailable", "checks": checks}
        return JSONResponse(content, _status(state))

    return router


def up_or_down(is_up: bool) -> str:
    return "up" if is_up else "down"


def _status(state: Health) -> int:
    return 200 if all(state.values()) else 503
