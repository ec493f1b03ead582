"""An output that a person has to look at: how its task waits, and what lets it go on. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.errors import ExecutionError
from app.governance.evaluation.models import Verdict
from app.jobs.outcomes import Finished, Suspended
from app.tasks.holds import Answer, HoldKind, held

REVIEW, UNDER_REVIEW = "review", "result_under_review"
ACCEPT, REJECT = "accept", "reject"
LONGEST_COMMENT = 2000


class OutputRejected(ExecutionError):
    """A person looked at the output and did not accept it."""

    code = "REJECTED"
    title = "Output rejected"


def held_for_review(verdict: Verdict, result: Mapping[str, Any], *, since: datetime) -> Suspended:
    """The task waits for somebody to accept or to reject its result, which is kept meanwhile."""
    failing = ", ".join(verdict.failing)
    message = f"review: the output scored {verdict.score:.2f} of {verdict.threshold:.2f} needed ({failing})"
    facts = {"score": verdict.score, "threshold": verdict.threshold, "failing": verdict.failing}
    waiting = held(HoldKind.REVIEW, message, since=since, facts=facts)
    return replace(waiting, fields={**waiting.fields, UNDER_REVIEW: dict(result)})


def reviewed(decision: str, comment: str | None, *, by: str) -> Answer:
    """What the reviewer with the key ``by`` says."""
    said = {"decision": decision, "comment": comment}
    return Answer(HoldKind.REVIEW, said, lambda _: {REVIEW: {**said, "by": by}})


def outcome_of_review(task: Mapping[str, Any]) -> Finished | None:
    """What a review that has been made means; None when there is none. Raises `OutputRejected`."""
    review = task.get(REVIEW)
    if not review or task.get(UNDER_REVIEW) is None:
        return None
    if review["decision"] == REJECT:
        said = f": {review['comment']}" if review["comment"] else ""
        raise OutputRejected(f"a reviewer did not accept the output{said}")
    return Finished({"agent_type": task.get("agent_type"), "result": task[UNDER_REVIEW], UNDER_REVIEW: None})
