"""Which histories can have happened."""

from typing import Any

import pytest

from app.invariants.histories import problem_of

ACCEPTED, CLAIMED, FINISHED = ("queued", "accepted"), ("processing", "claimed"), ("completed", "finished")
FAILED, RETRIED, CANCELLED = ("failed", "failed"), ("queued", "retried"), ("cancelled", "cancelled")
REQUEUED, SUSPENDED = ("queued", "retry_scheduled"), ("awaiting_approval", "suspended")


def entries(*steps: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"status": status, "reason": reason} for status, reason in steps]


@pytest.mark.parametrize(
    "steps",
    [
        [ACCEPTED],
        [ACCEPTED, CLAIMED],
        [ACCEPTED, CANCELLED],
        [ACCEPTED, ("failed", "deadline_exceeded")],
        [ACCEPTED, CLAIMED, FINISHED],
        [ACCEPTED, CLAIMED, REQUEUED, CLAIMED, FINISHED],
        [ACCEPTED, CLAIMED, ("queued", "deferred"), CLAIMED, FAILED, RETRIED, CLAIMED, FINISHED],
        [ACCEPTED, CLAIMED, SUSPENDED, ("queued", "approved"), CLAIMED, FINISHED],
        [ACCEPTED, CANCELLED, RETRIED, CANCELLED, RETRIED],
    ],
)
def test_what_the_kernel_writes_is_legal(steps: list[tuple[str, str]]) -> None:
    assert problem_of(steps[-1][0], entries(*steps)) is None


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "the history is empty"),
        ([CLAIMED], "the history begins with processing (claimed)"),
        ([ACCEPTED, FINISHED], "entry 2: completed (finished) after queued"),
        ([ACCEPTED, CLAIMED, CLAIMED], "entry 3: processing (claimed) after processing"),
        ([ACCEPTED, CLAIMED, FINISHED, FINISHED], "entry 4: completed (finished) after completed"),
        ([ACCEPTED, CLAIMED, FAILED, FINISHED], "entry 4: completed (finished) after failed"),
        ([ACCEPTED, CLAIMED, FAILED, REQUEUED], "entry 4: queued (retry_scheduled) after failed"),
        ([ACCEPTED, CLAIMED, FINISHED, RETRIED], "entry 4: queued (retried) after completed"),
        ([ACCEPTED, CLAIMED, RETRIED], "entry 3: queued (retried) after processing"),
        ([ACCEPTED, CLAIMED, ("done", "finished")], "entry 3: done (finished) after processing"),
    ],
)
def test_what_cannot_have_happened_is_named(steps: list[tuple[str, str]], problem: str) -> None:
    assert problem_of(steps[-1][0] if steps else "queued", entries(*steps)) == problem


def test_a_history_that_does_not_tell_of_the_status_is_wrong() -> None:
    assert problem_of("processing", entries(ACCEPTED)) == "the history ends with queued"


def test_an_unknown_status_in_the_middle_is_wrong_and_no_crash() -> None:
    steps = [ACCEPTED, CLAIMED, ("done", "finished"), RETRIED]

    assert problem_of("queued", entries(*steps)) == "entry 3: done (finished) after processing"
