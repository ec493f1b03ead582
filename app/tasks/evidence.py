"""The evidence of an attempt, noted in the write that ends it whatever comes of that, and how it is found again."""

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from app.artifacts.evidence import DIGESTS, EVIDENCE, Entry, EvidenceStore, evidence_of
from app.artifacts.models import ArtifactKind, FoundArtifact
from app.artifacts.places import Part, place_of_job
from app.governance.approvals.models import Approval
from app.governance.policy.facts import Facts
from app.governance.policy.models import FactKind
from app.jobs.runner import Attempt
from app.replay.models import RECORDINGS
from app.tasks.models import POLICY

# Tools that were refused, or have to be approved, in one attempt: what is refused more often adds nothing.
MOST_EVALUATIONS = 20
_PARTS = {
    ArtifactKind.EVALUATION: Part.EVALUATIONS,
    ArtifactKind.APPROVAL: Part.APPROVALS,
    ArtifactKind.EXECUTION: Part.EXECUTIONS,
}
_ENDINGS = {"application/gzip": ".json.gz"}


class Evaluations:
    """What policies decided about work before it began, and about calls of tools that were not simply allowed."""

    def __init__(self, evidence: EvidenceStore) -> None:
        self._evidence = evidence

    async def keep(
        self,
        attempt: Attempt,
        subject: Mapping[str, str],
        facts: Facts,
        note: Mapping[str, Any],
        scores: Mapping[str, Any] | None,
    ) -> None:
        """Raises what the artifact store raises: without the evidence the work does not go on."""
        before = evidence_of(attempt.job.document, ArtifactKind.EVALUATION)
        added = [one for one in attempt.evidence.appended.get(EVIDENCE, ()) if one["kind"] == ArtifactKind.EVALUATION]
        if len(added) >= MOST_EVALUATIONS:
            return
        document = {
            "subject": {"tenant_id": attempt.job.tenant_id, **subject},
            "kind": facts.kind.value,
            "at": note["at"],
            "attempt": attempt.job.attempt,
            "scores": scores,
            "facts": facts.values,
            "decision": {name: note[name] for name in ("effect", "rule", "reasons", "digest", "approval_id")},
        }
        entry = await self._evidence.put(
            place_of_job(attempt.job, Part.EVALUATIONS),
            document,
            kind=ArtifactKind.EVALUATION,
            name=f"evaluation-{len(before) + len(added) + 1}.json",
            at=note["at"],
            attempt=attempt.job.attempt,
        )
        refer(attempt, {**entry, "decided": _decided(facts.kind, note)})


def is_kept(attempt: Attempt, kind: FactKind, note: Mapping[str, Any]) -> bool:
    """Whether this attempt has decided the same before it was put off, and has evidence of that."""
    # A retry by hand, which counts attempts from one again, has forgotten what was decided.
    if not attempt.job.document.get(POLICY):
        return False
    known = evidence_of(attempt.job.document, ArtifactKind.EVALUATION)
    last = next((one for one in reversed(known) if one["decided"]["kind"] == kind), None)
    return last is not None and last["attempt"] == attempt.job.attempt and last["decided"] == _decided(kind, note)


def _decided(kind: FactKind, note: Mapping[str, Any]) -> dict[str, Any]:
    """What makes it the same decision as another."""
    return {"kind": kind.value, **{name: note[name] for name in ("effect", "rule", "digest", "approval_id")}}


def refer_to_approval(attempt: Attempt, approval: Approval) -> None:
    """The work that goes on, or does not, names what was decided about it."""
    if approval.evidence is not None:
        refer(attempt, {**approval.evidence, "attempt": attempt.job.attempt})


def refer(attempt: Attempt, entry: Entry) -> None:
    added = attempt.evidence.appended.get(EVIDENCE, ())
    if not any(one["sha256"] == entry["sha256"] for one in (*evidence_of(attempt.job.document), *added)):
        attempt.evidence.append(EVIDENCE, entry)
        attempt.evidence.append(DIGESTS, entry["sha256"])


def list_evidence(
    document: Mapping[str, Any],
    place_of_part: Callable[[Part], str],
    *,
    task_id: str | None = None,
    execution_id: str | None = None,
    step: str | None = None,
) -> list[FoundArtifact]:
    """All that a task or a step has, recordings included, as it came to be."""
    return [
        FoundArtifact(
            kind=ArtifactKind(one["kind"]),
            name=one["name"],
            media_type=one["media_type"],
            sha256=one["sha256"],
            size=one["size"],
            place=place_of_part(_PARTS[ArtifactKind(one["kind"])]),
            created_at=one["at"],
            attempt=one["attempt"],
            task_id=task_id,
            execution_id=execution_id,
            step=step,
        )
        for one in sorted((*evidence_of(document), *_recordings(document)), key=itemgetter("at"))
    ]


def _recordings(document: Mapping[str, Any]) -> Iterator[Entry]:
    for number, one in enumerate(document.get(RECORDINGS) or (), start=1):
        name = f"execution-{number}{_ENDINGS.get(one['media_type'], '.json')}"
        yield {**one, "kind": ArtifactKind.EXECUTION, "name": name}
