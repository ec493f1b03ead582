"""Signals are delivered once, to a step that waits for them, whoever dies in between."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.artifacts.store import ArtifactStore
from app.database.documents import Documents
from app.ids import new_id
from app.jobs.models import Status
from app.jobs.store import JobStore
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.repository import MOST_OPEN, ExecutionRepository
from app.workflows.executions.signals import MOST_KEPT, Signal, SignalBox, TooManySignals
from app.workflows.executions.values import ValueStore
from app.workflows.language.loading import load_workflow
from app.workflows.language.parts import FileParts
from tests.execution_builders import Json, a_step
from tests.fakes.mongo import fake_mongo
from tests.job_builders import REDISPATCH, TENANT, FakeClock

WAITING = """
version: 1
name: waiting
steps:
  a: {wait: {event: paid}, output: {data: {type: integer}}}
  b: {wait: {event: paid, key: k}}
"""


PLAN = load_workflow(WAITING, source="waiting", resolve=FileParts(Path(__file__).parent)).plan


class OnePlan:
    async def get(self, *_version: str) -> Any:
        return PLAN


@dataclass
class Bench:
    box: SignalBox
    steps: Documents
    signals: Documents
    execution_id: str

    @classmethod
    def build(cls, folder: Path) -> "Bench":
        database, clock, plans = fake_mongo()["tests"], FakeClock(), OnePlan()
        executions, steps, signals = (Documents(database[name]) for name in ("executions", "steps", "signals"))
        values: Any = ValueStore(ArtifactStore(str(folder)))
        given_plans: Any = plans
        store = JobStore(steps, clock=clock, redispatch=REDISPATCH)
        box = SignalBox(
            signals,
            ExecutionRepository(executions, steps),
            Conclusions(store, values, given_plans),
            values,
            clock=clock,
        )
        return cls(box, steps, signals, new_id())

    async def wait(self, path: str, key: str | None = None) -> str:
        waits_for = {"what": "event", "event": "paid", "key": key, "until": None}
        step = a_step(path, execution_id=self.execution_id, kind="wait", waits_for=waits_for)
        await self.steps.insert(step)
        return str(step["_id"])

    async def send(self, data: Any = 1, key: str | None = None) -> bool:
        signal = Signal("paid", key, data)
        return await self.box.send(TENANT, self.execution_id, signal, by="key", signal_id=new_id())

    async def deliver(self) -> int:
        return await self.box.deliver(TENANT, self.execution_id)

    async def step(self, step: str) -> Json:
        found = await self.steps.find_one({"_id": step})
        assert found is not None
        return found

    async def kept(self) -> list[Json]:
        return await self.signals.find_many({}, limit=2000)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench.build(tmp_path)


async def test_a_kept_signal_ends_the_step_that_comes_to_wait_for_it(bench: Bench) -> None:
    assert not await bench.send(7)
    step = await bench.wait("a")

    assert await bench.deliver() == 1
    assert await bench.deliver() == 0
    found = await bench.step(step)
    assert (found["status"], found["end"], found["heard"]) == ("completed", "succeeded", False)
    assert found["output"] == {"json": '{"event":"paid","key":null,"data":7}'}
    assert [(one["consumed_by"], one["delivered"]) for one in await bench.kept()] == [(step, True)]


async def test_a_signal_finds_its_step_among_more_than_are_read_at_once(bench: Bench) -> None:
    for number in range(MOST_OPEN):
        await bench.wait(f"b[{number}]", key=f"k{number}")
    step = await bench.wait("b[last]", key="the-last")

    assert await bench.send(key="the-last")
    assert (await bench.step(step))["status"] == "completed"


async def test_a_signal_that_was_consumed_by_a_process_that_died_is_delivered(bench: Bench) -> None:
    await bench.send()
    step = await bench.wait("a")
    await bench.signals.update_one({}, {"$set": {"consumed_by": step}})

    assert await bench.deliver() == 1
    assert (await bench.step(step))["status"] == Status.COMPLETED


async def test_a_delivery_that_was_not_noted_is_noted_and_not_repeated(bench: Bench) -> None:
    first = await bench.wait("a")
    await bench.send()
    await bench.signals.update_one({}, {"$set": {"delivered": False}})
    second = await bench.wait("b")

    assert await bench.deliver() == 0
    assert (await bench.step(second))["status"] == Status.QUEUED
    assert [(one["consumed_by"], one["delivered"]) for one in await bench.kept()] == [(first, True)]


async def test_a_signal_whose_step_ended_otherwise_goes_to_the_next(bench: Bench) -> None:
    first = await bench.wait("a")
    await bench.steps.update_one({"_id": first}, {"$set": {"status": "failed", "end": "failed"}})
    await bench.send(key="k")
    await bench.signals.update_one({}, {"$set": {"consumed_by": first}})
    second = await bench.wait("b", "k")

    assert await bench.deliver() == 1
    assert (await bench.step(second))["status"] == Status.COMPLETED


async def test_a_kept_signal_that_breaks_the_contract_fails_the_step(bench: Bench) -> None:
    await bench.send("no number")
    step = await bench.wait("a")

    await bench.deliver()

    assert (await bench.step(step))["fault"]["type"] == "AGENT_OUTPUT_INVALID"


async def test_signals_that_nobody_takes_are_bounded(bench: Bench) -> None:
    await bench.send()
    (one,) = await bench.kept()
    await bench.signals.insert_missing([{**one, "_id": new_id()} for _ in range(MOST_KEPT - 1)])

    with pytest.raises(TooManySignals):
        await bench.send()


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["send", "wait", "deliver", "die"]), max_size=12))
async def test_no_signal_ends_two_steps_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str]
) -> None:
    bench = Bench.build(tmp_path_factory.mktemp("values"))
    waits = 0
    for act in acts:
        if act == "send":
            await bench.send(len(await bench.kept()))
        elif act == "wait":
            waits += 1
            await bench.wait(f"b.x{waits}")
        elif act == "die":
            # Whoever consumed signals died before it noted anything.
            await bench.signals.update_many({}, {"$set": {"delivered": False}})
        else:
            await bench.deliver()
    await bench.deliver()

    steps = await bench.steps.find_many({}, limit=100)
    takers = [step["signal_id"] for step in steps if step["status"] == "completed"]
    assert len(takers) == len(set(takers)) == min(waits, acts.count("send"))
