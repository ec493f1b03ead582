"""Whether a job's history can have happened, and tells of the status that the job is in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from app.database.documents import Document
from app.invariants.models import FIELDS, Offender, Watched, offenders
from app.jobs.models import FINAL, OPEN, Reason, Status

# No portable query finds a wrong history, so the newest of each status are looked at.
SAMPLE_OF_EACH = 100
_After = Mapping[Status, frozenset[Status]]
_AFTER: _After = {
    Status.QUEUED: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.QUEUED, Status.AWAITING_APPROVAL}) | FINAL,
    Status.AWAITING_APPROVAL: frozenset({Status.QUEUED}) | FINAL,
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Which status may follow which. A history that ``is_whole`` begins when the job was accepted."""

    after: _After
    is_whole: bool


TASK_RULES = Rules(_AFTER, is_whole=True)
# Who drives an execution claims and ends what waits without a message, stores what ended already, and keeps of its own
# history the newest part.
WORKFLOW_RULES = Rules(
    {
        **_AFTER,
        Status.QUEUED: _AFTER[Status.QUEUED] | {Status.COMPLETED},
        Status.AWAITING_APPROVAL: _AFTER[Status.AWAITING_APPROVAL] | {Status.PROCESSING},
    },
    is_whole=False,
)


def problem_of(status: str, history: Iterable[Mapping[str, Any]], rules: Rules = TASK_RULES) -> str | None:
    """What is wrong with a history as it is stored, in words; None when nothing is.

    A final status is left by `retried` only, so a legal history has one final entry for each series of attempts.
    """
    steps = [(str(entry["status"]), str(entry["reason"])) for entry in history]
    if not steps:
        return "the history is empty"
    if rules.is_whole and steps[0] != (Status.QUEUED, Reason.ACCEPTED):
        return f"the history begins with {steps[0][0]} ({steps[0][1]})"
    for seq, ((before, _), (after, reason)) in enumerate(pairwise(steps), start=2):
        if not _may_follow(before, after, reason, rules.after):
            return f"entry {seq}: {after} ({reason}) after {before}"
    return None if steps[-1][0] == status else f"the history ends with {steps[-1][0]}"


def _may_follow(before: str, after: str, reason: str, legal: _After) -> bool:
    begins_anew = reason == Reason.RETRIED
    return after in legal.get(Status(before), ()) and (Status(before) in FINAL) == begins_anew


class Histories:
    """Looks at the newest jobs of each status."""

    name = "wrong_history"
    promise = "the newest jobs' histories are legal and end with their status"

    def __init__(self, jobs: Watched, rules: Rules, *, sample_of_each: int = SAMPLE_OF_EACH) -> None:
        self._jobs = jobs
        self._rules = rules
        self._sample_of_each = sample_of_each

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        found: list[Offender] = []
        for status in sorted(Status):
            for job in await self._newest(status):
                if problem := problem_of(job["status"], job["history"], self._rules):
                    found += offenders(self._jobs, [job], problem=problem)
        return found[:limit]

    async def _newest(self, status: Status) -> list[Document]:
        by = "not_before" if status in OPEN else "completed_at"
        return await self._jobs.documents.find_many(
            {"status": status.value}, sort=((by, -1),), limit=self._sample_of_each, fields=(*FIELDS, "history")
        )
