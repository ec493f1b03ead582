"""Compares what clients were told of executions with what workers did and what the store holds. Pure.

To the promises about every job (`tests.chaos.checker`), of executions and of their steps alike, these are added:

N  no step of an execution that has ended is left open.
O  two events of an execution never have the same place in its order.
R  a step that has finished is never begun again.
S  a step is begun again only for what its history says, once for each worker that it lost.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.checker import REPEATS, Bounds, Record, violations
from tests.chaos.client import FINAL
from tests.chaos.history import Event

Json = dict[str, Any]
LOST = "worker_lost"


@dataclass(frozen=True)
class ExecutionRecord:
    """``jobs`` has the executions and their steps, whose outputs are as agents wrote them."""

    jobs: Record
    executions: Mapping[str, Json]
    steps: Mapping[str, Json]


def execution_violations(record: ExecutionRecord, *, spare: int, recovery: float | None = None) -> list[str]:
    """What is wrong, each in a line that begins with the letter of the promise; empty when all is well."""
    return [
        *violations(record.jobs, Bounds(spare_executions=spare, recovery=recovery)),
        *_left_open(record),
        *_same_place(record),
        *_begun_again(record),
        *_not_accounted_for(record),
    ]


def whole(step: Json) -> Json:
    """With its output instead of how that is stored; one that is too large for the document is left out."""
    output = step["output"]
    read = json.loads(output["json"]) if output and "json" in output else None
    return {**step, "output": read if isinstance(read, dict) else None}


def most_at_once(events: Iterable[Event]) -> int:
    """How many attempts were in progress at the same time, as the agents tell it themselves."""
    changes = sorted((one.at, 1 if one.kind == "start" else -1) for one in events if one.kind in _LIMITS)
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


_LIMITS = frozenset({"start", "end", "cancelled", "failed"})


def _left_open(record: ExecutionRecord) -> Iterator[str]:
    for step in record.steps.values():
        execution = record.executions[step["execution_id"]]
        if execution["status"] in FINAL and step["status"] not in FINAL:
            yield f"N {step['_id']}: {step['path']} is {step['status']}, and its execution {execution['status']}"


def _same_place(record: ExecutionRecord) -> Iterator[str]:
    for execution_id, places in _places(record).items():
        for place, times in Counter(places).items():
            if times > 1:
                yield f"O {execution_id}: {times} events have the place {place}"


def _places(record: ExecutionRecord) -> Mapping[str, Sequence[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for step in record.steps.values():
        places[step["execution_id"]] += [step[name] for name in ("seq", "ended_seq") if step[name] is not None]
    for execution_id, execution in record.executions.items():
        places[execution_id] += [entry["seq"] for entry in execution["log"]]
    return places


def _begun_again(record: ExecutionRecord) -> Iterator[str]:
    for step_id, step in record.steps.items():
        finished = [one.at for one in record.jobs.events_of(step_id, "settled") if one.detail == "Finished"]
        later = [one for one in record.jobs.events_of(step_id, "start") if finished and one.at > min(finished)]
        if later:
            yield f"R {step_id}: {step['path']} had finished, and was begun again"


def _not_accounted_for(record: ExecutionRecord) -> Iterator[str]:
    for step_id, step in record.steps.items():
        reasons = Counter(entry["reason"] for entry in step["history"])
        owed = sum(number for reason, number in reasons.items() if reason in REPEATS)
        begun = len(record.jobs.events_of(step_id, "start"))
        if begun > 1 + owed + reasons[LOST] + reasons["worker_draining"]:
            yield f"S {step_id}: {step['path']} was begun {begun} times, and its history has {dict(reasons)}"
