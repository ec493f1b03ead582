"""The circuit breaker's decisions are pure: the same circuit and time always lead to the same next state."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.llm.circuits import (
    Circuit,
    CircuitKey,
    CircuitPolicy,
    abandoned,
    opened,
    probing,
    provider_of,
    refusal,
    reopened,
)
from tests.job_builders import NOON, SECOND

KEY = CircuitKey("api.example.com", "gpt-4o-mini")
POLICY = CircuitPolicy(failures=5, initial=10 * SECOND, maximum=120 * SECOND, probe_lease=65 * SECOND)
JITTERS = st.floats(0, 1, exclude_max=True)


def an_open_circuit(*, jitter: float = 0.0) -> Circuit:
    return opened(KEY, 5, policy=POLICY, now=NOON, jitter=jitter)


def test_an_open_circuit_is_probed_after_its_time_and_not_before() -> None:
    circuit = an_open_circuit()

    assert not circuit.may_be_probed(NOON + 10 * SECOND - timedelta(milliseconds=1))
    assert circuit.may_be_probed(NOON + 10 * SECOND)


def test_while_one_call_probes_no_other_may_until_its_lease_is_over() -> None:
    now = NOON + 10 * SECOND

    probe = probing(an_open_circuit(), policy=POLICY, now=now)

    assert not probe.may_be_probed(now + 64 * SECOND)
    assert probe.may_be_probed(now + 65 * SECOND)


def test_each_failed_probe_doubles_the_open_time_up_to_the_maximum() -> None:
    circuit, waits = an_open_circuit(), []

    for _ in range(6):
        waits.append((circuit.probe_at - NOON).total_seconds())
        circuit = reopened(probing(circuit, policy=POLICY, now=NOON), policy=POLICY, now=NOON, jitter=0.0)

    assert waits == [10, 20, 40, 80, 120, 120]
    assert (circuit.failures, circuit.openings, circuit.open_since) == (11, 7, NOON)


def test_a_probe_that_was_stopped_lets_the_next_one_begin_at_once() -> None:
    probe = probing(an_open_circuit(), policy=POLICY, now=NOON)

    assert abandoned(probe, now=NOON).may_be_probed(NOON)


@given(openings=st.integers(1, 10_000), jitter=JITTERS, wish=st.one_of(st.none(), st.integers(0, 10**6)))
def test_an_open_time_is_bounded_and_heeds_the_providers_wish_within_that(
    openings: int, jitter: float, wish: int | None
) -> None:
    at_least = None if wish is None else wish * SECOND

    lasts = POLICY.open_time(openings, jitter=jitter, at_least=at_least)

    assert 8 * SECOND <= lasts <= POLICY.maximum
    assert lasts >= min(at_least or timedelta(), POLICY.maximum)


@given(waited=st.integers(0, 9_999), jitter=JITTERS)
def test_what_is_refused_comes_back_after_the_next_probe_and_spread(waited: int, jitter: float) -> None:
    now = NOON + timedelta(milliseconds=waited)
    circuit = an_open_circuit()

    refused = refusal(circuit, policy=POLICY, now=now, jitter=jitter)

    assert refused.retry_after is not None
    assert circuit.probe_at <= now + refused.retry_after <= circuit.probe_at + 5 * SECOND
    assert refused.details == {"provider": "api.example.com", "model": "gpt-4o-mini"}


def test_what_is_refused_during_a_probe_need_not_wait_for_its_lease() -> None:
    probe = probing(an_open_circuit(), policy=POLICY, now=NOON)

    refused = refusal(probe, policy=POLICY, now=NOON, jitter=0.0)

    assert refused.retry_after == 10 * SECOND


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["look", "probe", "answer", "fail", "stop"]), st.integers(0, 70)),
    max_size=60,
)


class Processes:
    """Three processes that know what they last saw; a change counts only on the version that is stored."""

    def __init__(self) -> None:
        self.now = NOON
        self.stored = replace(an_open_circuit(), version="0")
        self.seen = dict.fromkeys(range(3), self.stored)
        self.probes: dict[int, Circuit] = {}

    def act(self, process: int, action: str) -> None:
        if action == "look":
            self.seen[process] = self.stored
        elif action == "probe":
            self._probe(process)
        elif probe := self.probes.pop(process, None):
            self._swap(probe, self._ended(probe, action))

    def live_probes(self) -> list[Circuit]:
        """Those whose call is still on its way and whose lease holds."""
        return [probe for probe in self.probes.values() if not probe.may_be_probed(self.now)]

    def _probe(self, process: int) -> None:
        circuit = self.seen[process]
        may_begin = process not in self.probes and circuit.may_be_probed(self.now)
        if may_begin and self._swap(circuit, probing(circuit, policy=POLICY, now=self.now)):
            self.probes[process] = self.stored

    def _ended(self, probe: Circuit, action: str) -> Circuit:
        if action == "fail":
            return reopened(probe, policy=POLICY, now=self.now, jitter=0.5)
        if action == "stop":
            return abandoned(probe, now=self.now)
        # Closed, and opened again by the next outage.
        return opened(KEY, 5, policy=POLICY, now=self.now, jitter=0.5)

    def _swap(self, before: Circuit, after: Circuit) -> bool:
        if before.version != self.stored.version:
            return False
        self.stored = replace(after, version=str(int(before.version) + 1))
        return True


@given(steps=STEPS)
def test_however_processes_interleave_only_one_call_at_a_time_reaches_the_provider(
    steps: list[tuple[int, str, int]],
) -> None:
    processes = Processes()

    for process, action, pause in steps:
        processes.now += pause * SECOND
        processes.act(process, action)

        live = processes.live_probes()
        assert len(live) <= 1
        assert processes.stored.is_probing or not live


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "api.openai.com"),
        ("http://user:secret@127.0.0.1:4000/v1", "127.0.0.1:4000"),
        ("https://gateway.example.com:8443/a/b?key=secret", "gateway.example.com:8443"),
    ],
)
def test_a_provider_is_named_without_its_secrets(url: str, provider: str) -> None:
    assert provider_of(url) == provider
