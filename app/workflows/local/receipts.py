"""The receipt of a run, made from its journal alone, and its proof: nothing was changed, and nothing is missing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.artifacts.store import ArtifactCorrupt, ArtifactNotFound
from app.errors import Invalid
from app.hash_chain import BEGINNING, Event
from app.workflows.language.digests import kept_digest
from app.workflows.local.evidence import TENANT, Evidence, Ref
from app.workflows.local.history import History, StepRecord
from app.workflows.local.journal import EvidenceCorrupt, read_journal
from app.workflows.receipt import problems_of

VERSION = 1
LARGEST_RECEIPT = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verification:
    """``problems`` are empty when the evidence is what was written; ``checked`` counts the values that were hashed."""

    problems: tuple[str, ...]
    events: int
    checked: int

    @property
    def ok(self) -> bool:
        return not self.problems


def receipt_of(events: Sequence[Event]) -> dict[str, Any]:
    """What was run on what, who decided, what came out, and what it cost. Pure."""
    history = History.of(events)
    return {
        "version": VERSION,
        "execution_id": history.execution_id,
        "workflow": history.created["workflow"],
        "definition_digest": history.digest,
        "inputs": history.created["inputs"],
        "forked_from": history.created.get("forked_from"),
        "status": history.status.value,
        "started_at": history.created["at"],
        "finished_at": history.finished_at,
        "resumed": history.resumed,
        "outputs": asdict(history.outputs) if history.outputs else None,
        "error": history.error,
        "cost": history.cost(),
        "approvals": history.approvals,
        "steps": [_step(step) for step in history.steps.values()],
        "events": {"count": len(events), "head": events[-1]["hash"] if events else BEGINNING},
    }


async def verify_evidence(folder: Path) -> Verification:
    """Offline: the chain of events, the receipt against it, and every value that was kept. Raises nothing of these."""
    evidence = Evidence(folder)
    try:
        events = read_journal(evidence.events)
        receipt = json.loads(evidence.receipt.read_bytes())
    except EvidenceCorrupt as error:
        return Verification((error.message,), 0, 0)
    except (OSError, ValueError):
        return Verification(("events.jsonl or receipt.json is not there, or is no JSON: has the run ended?",), 0, 0)
    problems = [] if receipt == receipt_of(events) else ["receipt.json does not say what events.jsonl comes to"]
    history = History.of(events)
    for digest in _digests(events):
        path = evidence.definition_of(digest, first=history.created["digest"])
        problems += _problem_of_definition(evidence, path, digest)
    values = list(_values(evidence, history))
    for path, ref in values:
        problems += await _problem_of_value(evidence, path, ref)
    blobs = [blob["sha256"] for step in history.steps.values() for blob in step.artifacts.values()]
    for sha256 in blobs:
        problems += await _problem_of_blob(evidence, sha256)
    return Verification(tuple(problems), len(events), len(values) + len(blobs))


def verify_receipt(path: Path) -> Verification:
    """Of an execution on a server, as it was saved: the chain of events, what they come to, and the values in it.

    Raises `Invalid` when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_RECEIPT + 1)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    if len(content) > LARGEST_RECEIPT:
        raise Invalid(f"{path} has more than {LARGEST_RECEIPT} bytes, and no receipt has")
    try:
        receipt = json.loads(content)
    except (ValueError, RecursionError):
        return Verification((f"{path.name} is no JSON",), 0, 0)
    problems, events, checked = problems_of(receipt)
    return Verification(tuple(problems), events, checked)


def _step(step: StepRecord) -> dict[str, Any]:
    return {
        "path": step.path,
        "kind": step.kind,
        "end": step.end,
        "error": step.error,
        "output_sha256": step.output.sha256 if step.output else None,
        "reused_from": step.reused_from,
        "artifacts": step.artifacts,
        "attempts": [asdict(attempt) | {"models": list(attempt.models)} for attempt in step.attempts],
    }


def _values(evidence: Evidence, history: History) -> list[tuple[Path, Ref]]:
    inputs = history.created["inputs"]
    found = [(evidence.inputs, Ref(inputs["sha256"], inputs["size"]))]
    found += [(evidence.step(step.path) / "output.json", step.output) for step in history.steps.values() if step.output]
    return [*found, *([(evidence.outputs, history.outputs)] if history.outputs else [])]


def _digests(events: Sequence[Event]) -> list[str]:
    """Of all definitions that the run went on with, in their order."""
    return list(dict.fromkeys(event["digest"] for event in events if event["event"] in {"run.created", "run.resumed"}))


def _problem_of_definition(evidence: Evidence, path: Path, digest: str) -> list[str]:
    try:
        found = kept_digest(evidence.get_definition(path))
    except EvidenceCorrupt as error:
        return [error.message]
    except Invalid as error:
        return [f"{path.name}: {error.message}"]
    return [] if found == digest else [f"{path.name} is not what ran: its digest is {found}, and {digest} ran"]


async def _problem_of_value(evidence: Evidence, path: Path, ref: Ref) -> list[str]:
    try:
        await evidence.get(path, ref)
    except (EvidenceCorrupt, ArtifactCorrupt, ArtifactNotFound) as error:
        return [error.message]
    return []


async def _problem_of_blob(evidence: Evidence, sha256: str) -> list[str]:
    try:
        await evidence.artifacts.get(TENANT, sha256)
    except (ArtifactCorrupt, ArtifactNotFound) as error:
        return [error.message]
    return []
