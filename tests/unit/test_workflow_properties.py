"""Random workflows with random outcomes, in random order and with crashes, beside the sequential reference."""

import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.errors import OrchestratorError
from app.workflows.planner import End
from app.workflows.replaying import restore
from app.workflows.run import Execute, Run
from app.workflows.view import Ended, Fault, failed
from tests.random_workflows import Documents, documents
from tests.workflow_builders import JsonValues, as_seen, without_messages
from tests.workflow_reference import Outcome, Reference

CONSTANTS: dict[str, Any] = {"inputs": {"number": 3}, "run": {"id": "r1"}}
# A seed stands for a whole workflow, so a smaller one is no simpler.
BOUNDED = settings(max_examples=150, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
SEEDS = st.integers(0, 2**32)


def outcome_of(seed: int, path: str, given: Any) -> Outcome:
    """Of a piece of work: the same for the same path and values, whoever asks and when."""
    number = zlib.crc32(json.dumps([seed, path, without_messages(given)], sort_keys=True).encode())
    if number % 6 == 0:
        return Outcome("failed", number % 7 if number % 4 == 0 else None, {"type": "BROKEN", "path": path})
    return Outcome(
        "succeeded", [number % 5, None, {"n": number % 3}, [1, number % 2]][number % 4], None, number % 3 + 1
    )


@dataclass(slots=True)
class Driver:
    """Carries out a run as a careful client would, and notes what a planner must never do."""

    run: Run
    seed: int
    random: Random
    open: dict[str, Execute] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    interrupted: Counter[str] = field(default_factory=Counter)

    def take(self, commands: list[Execute]) -> None:
        for command in commands:
            prefix = command.path.rpartition(".")[0]
            needed = [f"{prefix}.{need}" if prefix else need for need in command.step.needs]
            assert all(self.run.ends[need].end.lets_on for need in needed)
            assert command.path not in self.run.ends
            self.begun[command.path] += 1
            self.open[command.path] = command

    def step(self) -> None:
        path = self.random.choice(list(self.open))
        ended = self.work(self.open.pop(path))
        self.take(self.run.end(path, ended))
        again = self.run.snapshot()
        assert self.run.end(path, Ended(End.FAILED, "told again")) == []
        assert self.run.snapshot() == again

    def work(self, command: Execute) -> Ended:
        try:
            given = JsonValues().render(command.step.with_, command.view)
        except OrchestratorError as error:
            return failed(error)
        outcome = outcome_of(self.seed, command.path, given)
        fault = Fault(outcome.error["type"], "it broke") if outcome.error else None
        return Ended(End(outcome.end), outcome.output, fault, outcome.attempts)

    def crash(self, rebuilt: Run) -> None:
        """What was under way is begun once more; the rest is as it was."""
        assert rebuilt.ends == self.run.ends
        assert rebuilt.result == self.run.result
        assert {command.path: command for command in rebuilt.open} == self.open
        self.run = rebuilt
        self.interrupted.update(self.open.keys())
        self.open = {}
        self.take(rebuilt.open)


def as_outcome(ended: Ended) -> Outcome:
    seen = without_messages(as_seen(ended))
    return Outcome(seen["status"], seen["output"], seen["error"], seen["attempts"])


def a_reference(written: Documents, seed: int) -> tuple[Reference, Outcome]:
    reference = Reference(written.parts, CONSTANTS, lambda path, given: outcome_of(seed, path, given))
    return reference, reference.run(written.workflow)


def a_driver(written: Documents, seed: int) -> Driver:
    driver = Driver(Run(written.plan(), JsonValues(), CONSTANTS), seed, Random(seed))
    driver.take(driver.run.begin())
    return driver


@given(SEEDS)
@BOUNDED
def test_any_workflow_ends_as_the_reference_says_in_whatever_order_its_steps_end(seed: int) -> None:
    written = documents(seed)
    reference, expected = a_reference(written, seed)
    driver = a_driver(written, seed)

    while driver.open:
        driver.step()

    run = driver.run
    assert run.result is not None
    assert as_outcome(run.result) == expected
    assert set(driver.begun.values()) <= {1}
    for path, ended in reference.ends.items():
        assert (path, as_outcome(run.ends[path])) == (path, ended)
    others = [path for path in run.ends if path not in reference.ends]
    assert [path for path in others if not path.startswith(tuple(reference.never_begun))] == []


@given(SEEDS)
@BOUNDED
def test_a_run_that_crashes_anywhere_goes_on_and_repeats_only_what_was_interrupted(seed: int) -> None:
    written = documents(seed)
    _, expected = a_reference(written, seed)
    driver = a_driver(written, seed)
    plan = written.plan()

    while driver.open:
        if driver.random.random() < 0.3:
            snapshot = json.loads(json.dumps(driver.run.snapshot()))
            driver.crash(restore(plan, JsonValues(), snapshot))
        driver.step()

    assert driver.run.result is not None
    assert as_outcome(driver.run.result) == expected
    assert driver.begun == Counter(driver.begun.keys()) + driver.interrupted


@given(SEEDS)
@BOUNDED
def test_a_run_cancelled_anywhere_ends_after_its_endings_and_begins_nothing_else(seed: int) -> None:
    written = documents(seed)
    driver = a_driver(written, seed)
    for _ in range(driver.random.randint(0, 6)):
        if driver.open:
            driver.step()
    before, was_over = set(driver.begun), driver.run.result

    for path in driver.run.cancel():
        if driver.random.random() < 0.5:
            del driver.open[path]
            driver.take(driver.run.end(path, Ended(End.CANCELLED)))
    driver.crash(restore(written.plan(), JsonValues(), json.loads(json.dumps(driver.run.snapshot()))))
    while driver.open:
        driver.step()

    run = driver.run
    assert run.result is not None
    assert was_over in (None, run.result)
    assert [path for path in set(driver.begun) - before if "finally." not in path] == []
    # None of them when its `vars` failed: then it goes on to its ending at once.
    assert len({name in run.ends for name in written.workflow.steps}) == 1
    assert [name for name in written.workflow.finally_ if f"finally.{name}" not in run.ends] == []
    assert all("finally." not in path for path, ended in run.ends.items() if ended.end is End.CANCELLED)
