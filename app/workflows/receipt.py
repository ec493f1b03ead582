"""The receipt of an execution on a server: what was run on what, who decided, what came out, and what it cost. Pure.

It has the shape of a local run's, and the events that it was made from, chained by their hashes: whoever has it can
make it again and see that nothing in it was changed, without the server.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.clock import to_iso
from app.hash_chain import BEGINNING, Event, chained, follows
from app.workflows.costs import added

VERSION = 1
CREATED, ENDED, STARTED_STEP, ENDED_STEP = "execution.created", "execution.ended", "step.started", "step.ended"
_MALFORMED = "it is no receipt of an execution, or one of another version"

Document = Mapping[str, Any]


def receipt_of(execution: Document, steps: Iterable[Document]) -> dict[str, Any]:
    """Of documents as they are stored; the execution has ended, and so have its steps."""
    return receipt_from(chained(_events(execution, steps)))


def receipt_from(events: Sequence[Event]) -> dict[str, Any]:
    """What chained events come to."""
    created, ended = events[0], events[-1]
    steps = [event for event in events if event["event"] == ENDED_STEP]
    return {
        "version": VERSION,
        "execution_id": created["execution_id"],
        "workflow": created["workflow"],
        "definition_digest": created["digest"],
        "inputs": created["inputs"],
        "forked_from": created["forked_from"],
        "status": ended["status"],
        "started_at": created["at"],
        "finished_at": ended["at"],
        "series": ended["series"],
        "outputs": ended["outputs"],
        "error": ended["error"],
        "cost": added(attempt["cost"] for step in steps for attempt in step["attempts"] if attempt.get("cost")),
        "approvals": [{"path": step["path"], **vote} for step in steps for vote in step["votes"]],
        "steps": [_step(step) for step in steps],
        "events": {"count": len(events), "head": events[-1]["hash"] if events else BEGINNING, "log": list(events)},
    }


def problems_of(receipt: Any) -> tuple[list[str], int, int]:
    """What is wrong with a receipt from anywhere, the number of its events, and of the values that were hashed."""
    try:
        events = list(receipt["events"]["log"])
        hashes = [BEGINNING, *(event["hash"] for event in events)]
        broken = [place for place, event in enumerate(events) if not follows(event, hashes[place])]
        if broken:
            return [f"event {broken[0] + 1} was changed, or the one before it is missing"], len(events), 0
        values = [value for value in (receipt["inputs"], receipt["outputs"]) if value and "json" in value]
        found = [] if receipt == receipt_from(events) else ["it does not say what its events come to"]
        found += ["a value was changed after it was kept" for value in values if value != _hashed(value)]
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError):
        return [_MALFORMED], 0, 0
    return found, len(events), len(values)


def _events(execution: Document, steps: Iterable[Document]) -> Iterator[Event]:
    yield _created(execution)
    told = [*_logged(execution), *(event for step in steps for event in _told(step))]
    yield from sorted(told, key=_order)
    yield _ended(execution)


def _order(event: Event) -> tuple[bool, int, str, str]:
    """By its place; an end that nobody heard of any more has none, and comes after all others."""
    return event["seq"] is None, event["seq"] or 0, event.get("path", ""), event["event"]


def _created(execution: Document) -> Event:
    workflow, forked = execution["workflow"], execution["forked_from"]
    return {
        "seq": 0,
        "at": to_iso(execution["created_at"]),
        "event": CREATED,
        "execution_id": execution["_id"],
        "tenant": execution["tenant_id"],
        "workflow": workflow["name"],
        "digest": workflow["digest"],
        "inputs": _hashed(execution["inputs"]),
        "forked_from": dict(forked) if forked else None,
        "by": execution["created_by"],
    }


def _ended(execution: Document) -> Event:
    return {
        "seq": execution["last_seq"],
        "at": to_iso(execution["completed_at"]),
        "event": ENDED,
        "status": execution["status"],
        "series": execution["series"],
        "outputs": _hashed(execution["outputs"]),
        "error": _plain(execution.get("fault") or execution.get("error")),
    }


def _logged(execution: Document) -> Iterator[Event]:
    for entry in execution["log"]:
        plain = _plain(entry)
        # The last word is the receipt's own, with what came out.
        if plain["event"] != "ended":
            yield {**plain, "event": f"execution.{plain['event']}"}


def _told(step: Document) -> Iterator[Event]:
    place = {"path": step["path"], "series": step["series"], "kind": step["kind"]}
    given = _hashed(step["input"])
    begun = {"seq": step["seq"], "at": to_iso(step["created_at"]), "event": STARTED_STEP}
    yield {**begun, **place, "input_sha256": given and given["sha256"]}
    if step["completed_at"] is None:
        return
    output = _hashed(step["output"])
    yield {
        "seq": step["ended_seq"],
        "at": to_iso(step["completed_at"]),
        "event": ENDED_STEP,
        **place,
        "end": step["end"] or step["status"],
        "error": _plain(step["fault"] or step["error"]),
        "output_sha256": output and output["sha256"],
        "reused_from": step["reused_from"],
        "artifacts": _plain(step["artifacts"]),
        "votes": [_vote(vote) for vote in step["votes"]],
        "attempts": _plain(step["attempts"]),
    }


def _vote(vote: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(vote[name]) for name in ("at", "approved", "by", "comment")}


def _step(event: Event) -> dict[str, Any]:
    names = ("path", "series", "kind", "end", "error", "output_sha256", "reused_from", "artifacts", "attempts")
    return {name: event[name] for name in names}


def _hashed(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A stored value with its digest and size; one that stands in its document is shown as well."""
    if stored is None:
        return None
    text = stored.get("json")
    if text is None:
        return {"sha256": stored["sha256"], "size": stored["size"]}
    data = text.encode()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "json": text}


def _plain(value: Any) -> Any:
    """As JSON: the store has points in time."""
    if isinstance(value, datetime):
        return to_iso(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
