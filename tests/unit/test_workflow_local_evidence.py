import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agents.contracts import AgentInputInvalid
from app.errors import AttemptTimeout, CircuitOpen, ExecutionError, OrchestratorError
from app.hash_chain import Event
from app.llm.errors import AgentOutputInvalid, LlmAuth, LlmRateLimited, LlmUnavailable
from app.workflows.language.models import RetrySpec
from app.workflows.local.evidence import LARGEST_INLINE, Evidence
from app.workflows.local.journal import EvidenceCorrupt, Journal, read_journal
from app.workflows.steps.retrying import delay_before_retry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _journal(path: Path, number: int) -> list[Event]:
    journal, _ = Journal.open(path, clock=lambda: NOON)
    for count in range(number):
        journal.append("step.waits", path=f"step{count}")
    journal.close()
    return read_journal(path)


def test_a_torn_last_line_is_taken_away_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _journal(path, 2)
    with path.open("ab") as file:
        file.write(b'{"seq": 3, "at": "2026-')

    events = _journal(path, 1)

    assert [event["seq"] for event in events] == [1, 2, 3]
    assert events[2]["previous"] == events[1]["hash"]


@pytest.mark.parametrize("change", ["changed", "removed", "swapped"])
def test_a_journal_that_was_touched_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "events.jsonl"
    _journal(path, 3)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    changes = {"changed": [first, second.replace(b"step1", b"step9"), third], "removed": [first, third]}
    path.write_bytes(b"".join(changes.get(change, [second, first, third])))

    with pytest.raises(EvidenceCorrupt, match=r"events\.jsonl:"):
        read_journal(path)


async def test_a_large_value_is_kept_by_its_digest_and_found_again(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.create()
    value, path = {"text": "x" * LARGEST_INLINE}, evidence.step("big[3].one") / "output.json"

    ref = await evidence.put(path, value)

    assert json.loads(path.read_bytes())["$artifact"]["sha256"] == ref.sha256
    assert path.stat().st_size < 1000
    assert await evidence.get(path, ref) == value


async def test_a_value_that_was_changed_is_refused(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.create()
    path = evidence.step("one") / "output.json"
    ref = await evidence.put(path, {"sum": 1})
    path.write_text('{"sum": 2}')

    with pytest.raises(EvidenceCorrupt, match=r"one/output\.json"):
        await evidence.get(path, ref)


def test_paths_too_long_for_a_folder_stay_apart(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    evidence.create()
    long = ".".join(["a" * 64] * 5)

    assert evidence.step(f"{long}.x") != evidence.step(f"{long}.y")


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (AttemptTimeout("late"), True),
        (LlmRateLimited("busy"), True),
        (LlmUnavailable("down"), True),
        (CircuitOpen("down"), True),
        (AgentOutputInvalid("bad"), False),
        (LlmAuth("wrong key"), False),
        (ExecutionError("broken"), False),
    ],
)
def test_the_usual_retry_follows_what_the_world_did_and_no_mistake(error: OrchestratorError, retried: bool) -> None:
    delay = delay_before_retry(RetrySpec(), error, failures=1, tries=1, jitter=0.5)

    assert (delay is not None) is retried


def test_any_repeats_everything_but_what_cannot_change() -> None:
    spec = RetrySpec(on=["any"])

    assert delay_before_retry(spec, ExecutionError("broken"), failures=1, tries=1, jitter=0) is not None
    assert delay_before_retry(spec, AgentInputInvalid("wrong"), failures=1, tries=1, jitter=0) is None


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.floats(0, 1, exclude_max=True), st.sampled_from([None, 7.0]))
def test_retries_end_and_pause_no_shorter_than_asked_and_no_longer_than_allowed(
    failures: int, most: int, jitter: float, asked: float | None
) -> None:
    wait = timedelta(seconds=asked) if asked else timedelta()
    error = LlmRateLimited("busy", retry_after=wait if asked else None)

    delay = delay_before_retry(RetrySpec(max_attempts=most), error, failures=failures, tries=failures, jitter=jitter)

    if failures >= most:
        assert delay is None
    else:
        assert delay is not None
        assert wait <= delay <= wait + timedelta(seconds=60)
