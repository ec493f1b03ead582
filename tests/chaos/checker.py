"""Compares what clients were told, what the workers did and what the store holds in the end: pure, from plain values.

A  what was accepted is in a final state.
B  each series of attempts has exactly one final entry in the history, and nothing happens after it.
C  nothing was written by an attempt after another one had claimed the task, and the result is the last claimant's.
D  what a client once saw as final, it sees for ever, until somebody asks for a retry.
E  a task was not executed more often than once, besides once for each fault.
F  what ran on a killed worker runs again within the bound.
K  an idempotency key stands for one task.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.chaos.client import FINAL, Answer, Snapshot
from tests.chaos.history import Event

Json = dict[str, Any]
WRITES = frozenset({"settled", "saved"})
# What the product itself counts as another execution.
REPEATS = frozenset({"retry_scheduled", "retried", "circuit_open", "rate_limited", "suspended", "deferred"})
OVER = frozenset({"settled", "write_refused"})
# Of a task or a step, and of who drives an execution.
BEGINNINGS = frozenset({"start", "driving"})


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker process that was killed, and when."""

    pid: int
    at: float


@dataclass(frozen=True)
class Record:
    """All that is known of a run, about the tasks it accepted."""

    answers: Sequence[Answer] = ()
    snapshots: Sequence[Snapshot] = ()
    events: Sequence[Event] = ()
    documents: Mapping[str, Json] = field(default_factory=dict)
    kills: Sequence[Kill] = ()

    @property
    def accepted(self) -> list[str]:
        found = (one.work_id for one in self.answers if one.is_acceptance)
        return list(dict.fromkeys(found))

    def events_of(self, task_id: str, *kinds: str) -> list[Event]:
        return [event for event in self._events_by_task[task_id] if not kinds or event.kind in kinds]

    @cached_property
    def _events_by_task(self) -> Mapping[str, list[Event]]:
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[event.task_id].append(event)
        return found


@dataclass(frozen=True, slots=True)
class Bounds:
    """``spare_executions`` are allowed per task beyond the first; ``recovery`` is in seconds, None is not checked."""

    spare_executions: int = 0
    recovery: float | None = None


def violations(record: Record, bounds: Bounds) -> list[str]:
    """What is wrong, each in a line that begins with the letter of the promise; empty when all is well."""
    return [
        *_not_final(record),
        *_not_once_final(record),
        *_stale_writes(record),
        *_changed_after_the_end(record),
        *_executed_too_often(record, bounds.spare_executions),
        *_recovered_too_late(record, bounds.recovery),
        *_ambiguous_keys(record),
    ]


def recovery_times(record: Record) -> list[float]:
    """Seconds from each kill to the next start of each task that ran there; those that never ran again are not in."""
    return [again - kill.at for kill, _, again in _interrupted(record) if again is not None]


def _not_final(record: Record) -> Iterator[str]:
    for task_id in record.accepted:
        document = record.documents.get(task_id)
        if document is None:
            yield f"A {task_id}: accepted, and not in the store"
        elif document["status"] not in FINAL:
            yield f"A {task_id}: accepted, and {document['status']} in the end"


def _not_once_final(record: Record) -> Iterator[str]:
    for task_id, document in record.documents.items():
        for number, series in enumerate(_series(document), start=1):
            final = [place for place, entry in enumerate(series) if entry["status"] in FINAL]
            if len(final) > 1:
                yield f"B {task_id}: {len(final)} final entries in series {number}"
            elif final and final[0] != len(series) - 1:
                yield f"B {task_id}: series {number} goes on after its final entry"
        if document["history"][-1]["status"] != document["status"]:
            yield f"B {task_id}: is {document['status']}, and its history ends with something else"


def _series(document: Json) -> list[list[Json]]:
    """The history, cut before each retry by hand."""
    series: list[list[Json]] = [[]]
    for entry in document["history"]:
        if entry["reason"] == "retried":
            series.append([])
        series[-1].append(entry)
    return series


def _stale_writes(record: Record) -> Iterator[str]:
    for task_id in record.documents:
        claims = record.events_of(task_id, "claimed")
        for write in record.events_of(task_id, *WRITES):
            replaced = [claim for claim in claims if claim.token != write.token and _is_later(claim, write, claims)]
            # Only what was sent after the other claim had its answer is certain to have come later.
            if any(claim.at < write.began for claim in replaced):
                yield f"C {task_id}: {write.kind} by attempt {write.attempt} after it was claimed anew"
        yield from _foreign_result(task_id, record, claims)
    yield from _settled_twice(record.events)


def _is_later(claim: Event, write: Event, claims: Iterable[Event]) -> bool:
    own = next((one for one in claims if one.token == write.token), None)
    return own is None or claim.at > own.at


def _foreign_result(task_id: str, record: Record, claims: Sequence[Event]) -> Iterator[str]:
    document = record.documents[task_id]
    ends = [event for event in record.events_of(task_id, "end") if event.token]
    if document["status"] != "completed" or not claims or not ends:
        return
    signed = signed_by(document)
    if not any(event.token in signed for event in ends):
        yield f"C {task_id}: nobody who finished it wrote its result"
    elif max(claims, key=lambda claim: claim.at).token not in signed:
        yield f"C {task_id}: the result is not that of the last claim"


def signed_by(document: Json) -> str:
    """What the result of a task, or the output of a step, says about the attempt that it is of."""
    return str((document.get("result") or document.get("output") or {}).get("raw_output"))


def _settled_twice(events: Iterable[Event]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for event in events:
        if event.kind == "settled" and (event.task_id, event.token) in seen:
            yield f"C {event.task_id}: attempt {event.attempt} was settled twice"
        if event.kind == "settled":
            seen.add((event.task_id, event.token))


def _changed_after_the_end(record: Record) -> Iterator[str]:
    seen: dict[str, list[Snapshot]] = defaultdict(list)
    for snapshot in sorted(record.snapshots, key=lambda one: one.at):
        seen[snapshot.task_id].append(snapshot)
    for task_id, snapshots in seen.items():
        end_of_series: dict[int, Snapshot] = {}
        for snapshot in filter(_has_ended, snapshots):
            end_of_series.setdefault(_count_retries(snapshot.task), snapshot)
        for end in end_of_series.values():
            for change in _changes_since(end, snapshots, record.documents.get(task_id)):
                yield f"D {task_id}: was {end.task['status']}, then {change}"


def _changes_since(end: Snapshot, snapshots: Iterable[Snapshot], document: Json | None) -> Iterator[str]:
    # Only what was asked for after the end had been told is certain to be later.
    for later in (one for one in snapshots if one.sent_at >= end.at):
        if _belongs_before(end.task, later.task) or _differs(end.task, later.task, _essence):
            yield f"{later.task['status']} or otherwise changed"
            return
    if document and (_belongs_before(end.task, document) or _differs(end.task, document, _outline)):
        yield f"{document['status']} or otherwise changed in the store"


def _belongs_before(task: Json, other: Json) -> bool:
    return _count_retries(other) < _count_retries(task)


def _differs(task: Json, other: Json, aspect: Callable[[Json], tuple[Any, ...]]) -> bool:
    return _count_retries(task) == _count_retries(other) and aspect(task) != aspect(other)


def _has_ended(snapshot: Snapshot) -> bool:
    return snapshot.task["status"] in FINAL


def _count_retries(task: Json) -> int:
    return sum(entry["reason"] == "retried" for entry in task["history"])


def _essence(task: Json) -> tuple[Any, ...]:
    return (task["status"], task["completed_at"], task["result"], task["error"], task["attempt"], len(task["history"]))


def _outline(task: Json) -> tuple[Any, ...]:
    """What answers and documents write alike."""
    return (task["status"], task["attempt"], len(task["history"]))


def _executed_too_often(record: Record, spare: int) -> Iterator[str]:
    for task_id, document in record.documents.items():
        owed = sum(entry["reason"] in REPEATS for entry in document["history"])
        starts = len(record.events_of(task_id, "start"))
        if starts > 1 + owed + spare:
            yield f"E {task_id}: executed {starts} times, at most {1 + owed + spare} are explained"


def _recovered_too_late(record: Record, bound: float | None) -> Iterator[str]:
    if bound is None:
        return
    for kill, task_id, again in _interrupted(record):
        if again is None:
            if _ended_by_itself(record.documents.get(task_id)):
                continue
            yield f"F {task_id}: ran on {kill.pid} when that was killed, and never again"
        elif again - kill.at > bound:
            yield f"F {task_id}: ran again {again - kill.at:.1f} s after its worker was killed"


def _ended_by_itself(document: Json | None) -> bool:
    """Cancelled, or out of attempts: then nothing has to run again."""
    return document is not None and document["status"] in {"cancelled", "failed"}


def _interrupted(record: Record) -> Iterator[tuple[Kill, str, float | None]]:
    """Each kill with each task that ran on the killed process, and when that ran again."""
    for kill in record.kills:
        for task_id in {event.task_id for event in record.events if event.pid == kill.pid}:
            events = record.events_of(task_id)
            begun = [one for one in events if one.kind in BEGINNINGS]
            started = [one for one in begun if one.pid == kill.pid and one.at <= kill.at]
            over = {one.token for one in events if one.kind in OVER and one.pid == kill.pid}
            if any(one.token not in over for one in started):
                later = [one.at for one in begun if one.at > kill.at]
                yield kill, task_id, min(later, default=None)


def _ambiguous_keys(record: Record) -> Iterator[str]:
    tasks: dict[str, set[str]] = defaultdict(set)
    for answer in record.answers:
        if answer.is_acceptance and answer.key:
            tasks[answer.key].add(answer.work_id)
    for key, ids in tasks.items():
        if len(ids) > 1:
            yield f"K {key}: stands for {len(ids)} tasks"
