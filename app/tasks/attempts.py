"""Every attempt at a task or a step, with what each of them left behind. Pure.

When attempts began and how they ended is told by the history. What they left is in other lists of the same document,
and belongs to the attempt that had begun last at its time: numbers of attempts come again in later series.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, TypeVar

from app.artifacts.evidence import EVIDENCE
from app.jobs.attempts import PastAttempt, list_attempts
from app.jobs.history import read_history
from app.metrics.usage import MODEL_CALLS, NANO, NANO_USD, TOKENS, Charge, charges
from app.replay.models import RECORDINGS, recordings_of
from app.tasks.attempt_schemas import AttemptCost, AttemptEvidence, AttemptItem, AttemptListResponse
from app.tasks.schemas import TaskError

T = TypeVar("T")
# What of a task tells of its attempts: the texts of its runs may be megabytes.
FIELDS = (
    "history", RECORDINGS, EVIDENCE, "agent_runs.run_id", "agent_runs.agent_name", "agent_runs.started_at",
    "agent_runs.models.model",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """Something that was done in an attempt, as its document has it."""

    began_at: datetime
    agent: str | None
    models: Sequence[str]
    run_id: str | None = None
    cost: AttemptCost | None = None


def work_on_task(task: Mapping[str, Any]) -> list[Work]:
    return [
        Work(
            run["started_at"],
            run["agent_name"],
            [one["model"] for one in run.get("models") or () if one["model"]],
            run["run_id"],
        )
        for run in task.get("agent_runs") or ()
    ]


def present_attempts(
    document: Mapping[str, Any], work: Sequence[Work], *, after: int, limit: int
) -> AttemptListResponse:
    """So many attempts at a task or step behind number ``after``, oldest first."""
    history = read_history(document["history"])
    attempts = list_attempts(history)
    charged = {charge.seq: charge for charge in charges(history, after=0)}
    worked = _by_attempt(attempts, ((one.began_at, one) for one in work))
    recorded = _by_attempt(attempts, ((_moment(attempts, one), one) for one in recordings_of(document)))
    proved = _by_attempt(attempts, ((_moment(attempts, one), one) for one in document.get(EVIDENCE) or ()))
    page = attempts[after : after + limit]
    return AttemptListResponse(
        items=[
            _present(
                one,
                charged.get(one.ending.seq) if one.ending else None,
                worked[one.place],
                recorded[one.place],
                proved[one.place],
            )
            for one in page
        ],
        next_cursor=page[-1].place if page and page[-1].place < len(attempts) else None,
    )


def _present(
    attempt: PastAttempt,
    charge: Charge | None,
    work: Sequence[Work],
    recordings: Sequence[Mapping[str, Any]],
    evidence: Sequence[Mapping[str, Any]],
) -> AttemptItem:
    label = attempt.ending.label if attempt.ending else None
    doers = [one.agent for one in work if one.agent]
    return AttemptItem(
        seq=attempt.place,
        series=attempt.series,
        number=attempt.number,
        charged=attempt.is_charged,
        outcome=attempt.outcome,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        worker=attempt.worker,
        error=TaskError(type=attempt.error.type, message=attempt.error.message) if attempt.error else None,
        agent=label or (charge.agent if charge else None) or (doers[-1] if doers else None),
        models=list(dict.fromkeys(model for one in work for model in one.models)),
        agent_runs=[one.run_id for one in work if one.run_id],
        cost=_cost(charge, work),
        recording=recordings[-1]["sha256"] if recordings else None,
        replayable=bool(recordings),
        evidence=[AttemptEvidence(kind=one["kind"], sha256=one["sha256"], name=one.get("name")) for one in evidence],
    )


def _cost(charge: Charge | None, work: Sequence[Work]) -> AttemptCost | None:
    if charge is None:
        return next((one.cost for one in work if one.cost), None)
    amounts = charge.amounts
    return AttemptCost(usd=amounts[NANO_USD] / NANO, tokens=amounts[TOKENS], model_calls=amounts[MODEL_CALLS])


def _by_attempt(attempts: Sequence[PastAttempt], left: Iterable[tuple[datetime | None, T]]) -> Mapping[int, list[T]]:
    """By the place of the attempt that had begun last; what has no time belongs to none."""
    # Workers' clocks differ by moments: an attempt may seem to begin before the one that it follows.
    begun = list(accumulate((one.started_at for one in attempts), max))
    found: dict[int, list[T]] = defaultdict(list)
    for moment, one in left:
        if moment is not None and attempts:
            found[max(bisect_right(begun, moment), 1)].append(one)
    return found


def _moment(attempts: Sequence[PastAttempt], entry: Mapping[str, Any]) -> datetime | None:
    """When it was left; an older version noted the number of its attempt only, which may be that of several."""
    if entry.get("at") is not None:
        moment: datetime = entry["at"]
        return moment
    same = [one for one in attempts if one.number == entry.get("attempt")]
    return same[0].started_at if len(same) == 1 else None
