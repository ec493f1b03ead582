"""Keeps one process from asking a provider that is down, and tells the other processes.

A closed circuit costs a look into memory. What other processes found is read from the store at most once a second,
and only while calls are made; nothing is written before a circuit opens.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TypeVar

import structlog

from app.clock import Clock
from app.errors import ExecutionError, NotAsked, OrchestratorError
from app.llm.circuit_store import CircuitStore
from app.llm.circuits import Circuit, CircuitKey, CircuitPolicy, abandoned, opened, probing, refusal, reopened
from app.llm.errors import OUTAGES

log = structlog.get_logger(__name__)

T = TypeVar("T")
# How long what was read is believed, and how long a call waits to hear of something newer.
READ_AGE = 1.0
READ_PATIENCE = 0.25
CLOSING_PATIENCE = 1.0


@dataclass(slots=True)
class Streak:
    """Failures in a row since the circuit last opened or closed; calls begun before that count in an old streak."""

    failures: int = 0


class CircuitBreaker:
    """All its methods belong to the event loop."""

    def __init__(
        self,
        store: CircuitStore,
        policy: CircuitPolicy,
        *,
        clock: Clock,
        on_change: Callable[[Collection[CircuitKey]], None] = lambda _open: None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``on_change`` is told which circuits are open, whenever that is read or changed."""
        self._store = store
        self._policy = policy
        self._clock = clock
        self._on_change = on_change
        self._monotonic = monotonic
        self._jitter = jitter
        self._open: Mapping[CircuitKey, Circuit] = MappingProxyType({})
        self._streaks: dict[CircuitKey, Streak] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._abandoning: set[asyncio.Task[None]] = set()

    async def call(self, key: CircuitKey, ask: Callable[[], Awaitable[T]]) -> T:
        """The provider's answer or error; raises `CircuitOpen` instead of asking one that is known to be down."""
        probe = await self._admit(key)
        streak = self._streaks.setdefault(key, Streak())
        try:
            answer = await ask()
        except OUTAGES as error:
            await self._told(self._failed(key, probe, streak, error.retry_after))
            raise
        except NotAsked:
            self._abandon(probe)
            raise
        except ExecutionError:
            # It answered, if only to refuse.
            await self._told(self._answered(probe, streak))
            raise
        except BaseException:
            self._abandon(probe)
            raise
        await self._told(self._answered(probe, streak))
        return answer

    async def refresh(self) -> None:
        """Learn what other processes found. A store that does not answer leaves everything as it is known."""
        try:
            found = await self._store.list_open()
        except OrchestratorError as error:
            log.debug("circuit.not_read", error_type=error.code)
        else:
            self._adopt({circuit.key: circuit for circuit in found})
        finally:
            self._read_at = self._monotonic()

    async def close(self) -> None:
        """Wait for what is being written; a probe that is not given back ends with its lease."""
        if waiting := {*self._abandoning, *([self._reading] if self._reading else [])}:
            await asyncio.wait(waiting, timeout=CLOSING_PATIENCE)

    async def _admit(self, key: CircuitKey) -> Circuit | None:
        """The probe that this call is, None for an ordinary call."""
        await self._refresh_if_old()
        circuit = self._open.get(key)
        if circuit is not None and circuit.may_be_probed(self._clock()):
            if probe := await self._begin_probe(circuit):
                return probe
            await self.refresh()
            circuit = self._open.get(key)
        if circuit is not None:
            raise refusal(circuit, policy=self._policy, now=self._clock(), jitter=self._jitter())
        return None

    async def _begin_probe(self, circuit: Circuit) -> Circuit | None:
        probe = probing(circuit, policy=self._policy, now=self._clock())
        # Before the write, so that other calls of this process do not try to become the probe as well.
        self._adopt({**self._open, circuit.key: probe})
        try:
            stored = await self._store.change(circuit, probe)
        except OrchestratorError as error:
            # Refused, the call costs its task nothing; the provider is as far as anybody knows still down.
            log.debug("circuit.not_probed", error_type=error.code)
            return None
        if stored is not None:
            self._adopt({**self._open, circuit.key: stored})
            log.info("circuit.probed", provider=circuit.key.provider, model=circuit.key.model)
        return stored

    async def _failed(self, key: CircuitKey, probe: Circuit | None, streak: Streak, wish: timedelta | None) -> None:
        if probe is not None:
            again = reopened(probe, policy=self._policy, now=self._clock(), jitter=self._jitter(), at_least=wish)
            await self._change(probe, again)
            return
        streak.failures += 1
        if streak.failures < self._policy.failures or self._streaks.get(key) is not streak:
            return
        # A new streak before the write: the failures that follow must not open it again.
        self._streaks[key] = Streak()
        circuit = opened(
            key, streak.failures, policy=self._policy, now=self._clock(), jitter=self._jitter(), at_least=wish
        )
        stored = await self._store.open(circuit)
        if stored is None:
            await self.refresh()
            return
        self._adopt({**self._open, key: stored})
        log.warning("circuit.opened", provider=key.provider, model=key.model, failures=stored.failures)

    async def _answered(self, probe: Circuit | None, streak: Streak) -> None:
        streak.failures = 0
        if probe is None:
            return
        if await self._store.close(probe):
            self._adopt({key: circuit for key, circuit in self._open.items() if key != probe.key})
            log.info("circuit.closed", provider=probe.key.provider, model=probe.key.model)
        else:
            await self.refresh()

    def _abandon(self, probe: Circuit | None) -> None:
        """In the background: who was cancelled must not wait for the store."""
        if probe is not None:
            task = asyncio.create_task(self._told(self._change(probe, abandoned(probe, now=self._clock()))))
            self._abandoning.add(task)
            task.add_done_callback(self._abandoning.discard)

    async def _change(self, before: Circuit, after: Circuit) -> None:
        stored = await self._store.change(before, after)
        if stored is None:
            await self.refresh()
        else:
            self._adopt({**self._open, stored.key: stored})

    async def _told(self, writing: Awaitable[None]) -> None:
        """Write what a call found out. A store that does not answer must not take the call's own end away."""
        try:
            await writing
        except OrchestratorError as error:
            log.warning("circuit.not_written", error_type=error.code)

    async def _refresh_if_old(self) -> None:
        if self._monotonic() - self._read_at < READ_AGE:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self.refresh(), name="circuits")
        await asyncio.wait({self._reading}, timeout=READ_PATIENCE)

    def _adopt(self, circuits: Mapping[CircuitKey, Circuit]) -> None:
        for key in circuits.keys() ^ self._open.keys():
            self._streaks.pop(key, None)
        self._open = circuits
        self._on_change(circuits.keys())
