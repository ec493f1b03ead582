"""Two looks make a finding, and the watch goes on whatever happens to one of them."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from app.database.errors import StoreUnavailable
from app.invariants.models import Offender, Report
from app.invariants.verifier import Verifier
from app.invariants.watch import InvariantWatch
from app.observability.metrics import InvariantGauges, Metrics
from tests.job_builders import NOON, FakeClock

A, B = {"task_id": "a"}, {"task_id": "b"}
MOMENT = timedelta(milliseconds=1)
LONG = timedelta(seconds=10)


class Looks:
    """A check that finds what it was given, look by look; an error is raised."""

    name = "some_check"
    promise = "nothing is wrong"

    def __init__(self, *looks: Sequence[Offender] | Exception) -> None:
        self._looks = list(looks)
        self.made = 0

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        self.made += 1
        found = self._looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return list(found)[:limit]


class Hanging(Looks):
    async def list_offenders(self, *, limit: int) -> list[Offender]:
        await asyncio.Event().wait()
        raise AssertionError


def verifier(looks: Looks) -> Verifier:
    return Verifier([looks], clock=FakeClock(), confirmation=MOMENT)


def watch(looks: Looks, report: Callable[[Report], None], *, patience: timedelta = LONG) -> InvariantWatch:
    return InvariantWatch(verifier(looks), interval=MOMENT, patience=patience, report=report)


async def test_a_system_without_offenders_is_looked_at_once() -> None:
    looks = Looks([])

    report = await verifier(looks).verify()

    assert report.ok
    assert looks.made == 1


async def test_only_what_is_there_at_both_looks_is_an_offender() -> None:
    report = await verifier(Looks([A, B], [B])).verify()

    assert report.as_json() == {
        "ok": False,
        "checked_at": "2026-11-21T12:00:00.000Z",
        "checks": [
            {
                "name": "some_check",
                "ok": False,
                "promise": "nothing is wrong",
                "offenders": [B],
                "truncated": False,
            }
        ],
    }


async def test_what_was_mended_or_changed_between_two_looks_is_no_offender() -> None:
    changed = await verifier(Looks([{**A, "status": "queued"}], [{**A, "status": "processing"}])).verify()
    mended = await verifier(Looks([A], [])).verify()

    assert changed.ok
    assert mended.ok


async def test_the_gauges_keep_the_last_answer_while_the_store_is_away() -> None:
    metrics = Metrics()
    gauges = InvariantGauges(metrics)
    watching = watch(
        Looks([A], [A], StoreUnavailable("away"), RuntimeError("a defect")),
        lambda report: gauges.set({one.name: len(one.offenders) for one in report.findings}, report.at),
    )

    for _ in range(3):
        await watching.look()

    assert metrics.registry.get_sample_value("invariant_violations", {"check": "some_check"}) == 1
    assert metrics.registry.get_sample_value("invariant_check_timestamp_seconds") == NOON.timestamp()


async def test_a_look_that_hangs_is_given_up() -> None:
    reports: list[Report] = []

    await watch(Hanging(), reports.append, patience=MOMENT).look()

    assert reports == []


async def test_the_watch_looks_again_and_again_also_after_an_error() -> None:
    looks, seen = Looks(RuntimeError("a defect"), StoreUnavailable("away"), []), asyncio.Event()

    watching = asyncio.create_task(watch(looks, lambda _: seen.set()).run_for_ever())
    async with asyncio.timeout(5):
        await seen.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching

    assert looks.made >= 3
