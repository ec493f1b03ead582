"""When a provider is asked and when it is left alone: a circuit breaker as pure values and decisions.

::

    closed ──failures in a row──► open ──its time is up: one call, the probe──► half-open ──answered──► closed
                                   ▲                                                │
                                   └──────────── failed: twice as long ─────────────┘

A closed circuit is no `Circuit` at all: while all is well there is nothing to store, to read or to decide. The pattern
is Nygard's ("Release It!", 2007); one probe at a time is what keeps a provider that comes back from being run over.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from app.clock import to_iso, to_milliseconds
from app.errors import CircuitOpen

# An open time is cut by up to this share, so that several circuits do not probe in step.
JITTER = 0.2


@dataclass(frozen=True, slots=True)
class CircuitKey:
    """What fails and recovers as one: a model at a provider."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """``failures`` in a row open a circuit, for ``initial`` at first, then twice as long each time up to ``maximum``.

    ``probe_lease`` must exceed the longest call: after it a probe that never ended may be followed by another.
    """

    failures: int
    initial: timedelta
    maximum: timedelta
    probe_lease: timedelta

    def open_time(self, openings: int, *, jitter: float, at_least: timedelta | None = None) -> timedelta:
        """How long the ``openings``-th opening lasts; ``at_least`` is the provider's wish, heeded up to the maximum."""
        doubled = self.initial * 2.0 ** min(openings - 1, 32)
        return max(min(doubled, self.maximum) * (1 - JITTER * jitter), min(at_least or timedelta(), self.maximum))


@dataclass(frozen=True, slots=True)
class Circuit:
    """An open circuit. Before ``probe_at`` nobody asks the provider, save the probe while ``is_probing``.

    ``version`` is new with every stored change; only who knows the present one can make the next.
    """

    key: CircuitKey
    failures: int
    openings: int
    open_since: datetime
    probe_at: datetime
    is_probing: bool = False
    version: str = ""

    def may_be_probed(self, now: datetime) -> bool:
        """Also when a probe never came back: its lease has run out."""
        return self.probe_at <= now


def opened(
    key: CircuitKey,
    failures: int,
    *,
    policy: CircuitPolicy,
    now: datetime,
    jitter: float,
    at_least: timedelta | None = None,
) -> Circuit:
    """The circuit after so many failures in a row."""
    probe_at = to_milliseconds(now + policy.open_time(1, jitter=jitter, at_least=at_least))
    return Circuit(key, failures, openings=1, open_since=now, probe_at=probe_at)


def probing(circuit: Circuit, *, policy: CircuitPolicy, now: datetime) -> Circuit:
    """One call goes to the provider; until it ends, or its lease does, no other."""
    return replace(circuit, is_probing=True, probe_at=now + policy.probe_lease)


def reopened(
    probe: Circuit, *, policy: CircuitPolicy, now: datetime, jitter: float, at_least: timedelta | None = None
) -> Circuit:
    """The probe failed as well."""
    openings = probe.openings + 1
    probe_at = to_milliseconds(now + policy.open_time(openings, jitter=jitter, at_least=at_least))
    return replace(probe, failures=probe.failures + 1, openings=openings, is_probing=False, probe_at=probe_at)


def abandoned(probe: Circuit, *, now: datetime) -> Circuit:
    """The probe was stopped before it told anything; the next may begin at once."""
    return replace(probe, is_probing=False, probe_at=now)


def refusal(circuit: Circuit, *, policy: CircuitPolicy, now: datetime, jitter: float) -> CircuitOpen:
    """Not before the next probe, and spread over half an open time: what waited must not return as a burst."""
    until_probe = max(circuit.probe_at - now, timedelta())
    # A probe usually ends long before its lease does.
    wait = min(until_probe, policy.initial) if circuit.is_probing else until_probe
    spread = policy.open_time(circuit.openings, jitter=0.0) / 2
    what_next = "a call tries it at this moment" if circuit.is_probing else f"next try at {to_iso(circuit.probe_at)}"
    return CircuitOpen(
        f"{circuit.key.provider} ({circuit.key.model}) failed {circuit.failures} times in a row and is not asked: "
        f"{what_next}",
        retry_after=wait + spread * jitter,
        provider=circuit.key.provider,
        model=circuit.key.model,
    )


def provider_of(url: str) -> str:
    """Host, and port if one is written, of a provider's address; never its user, password or path."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
