"""What a check found: jobs that break a promise which a healthy system keeps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.clock import to_iso
from app.database.documents import Document, Documents

# Plain JSON. Nothing in it may change by the mere passing of time: two looks are compared.
Offender = Mapping[str, Any]
FIELDS = ("tenant_id", "status", "updated_at", "lease.worker")


@dataclass(frozen=True, slots=True)
class Watched:
    """The jobs of one collection; ``id_name`` is what the id of one is called."""

    id_name: str
    documents: Documents


class Invariant(Protocol):
    """One named promise. ``name`` is a label of the metrics; ``promise`` is a sentence for people."""

    @property
    def name(self) -> str: ...

    @property
    def promise(self) -> str: ...

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        """At most ``limit`` that break the promise, by queries whose work does not grow with history."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """``truncated`` says that there may be more offenders than these."""

    name: str
    promise: str
    offenders: tuple[Offender, ...] = ()
    truncated: bool = False

    @property
    def ok(self) -> bool:
        return not self.offenders

    def confirmed_by(self, later: "Finding") -> "Finding":
        """Only what is there, unchanged, at both looks: the rest was on its way."""
        stayed = tuple(one for one in later.offenders if one in self.offenders)
        return Finding(self.name, self.promise, stayed, later.truncated and bool(stayed))


@dataclass(frozen=True, slots=True)
class Report:
    """What one look at the whole system found."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def confirmed_by(self, later: "Report") -> "Report":
        pairs = zip(self.findings, later.findings, strict=True)
        return Report(later.at, tuple(first.confirmed_by(second) for first, second in pairs))

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "checked_at": to_iso(self.at),
            "checks": [
                {
                    "name": finding.name,
                    "ok": finding.ok,
                    "promise": finding.promise,
                    "offenders": [dict(one) for one in finding.offenders],
                    "truncated": finding.truncated,
                }
                for finding in self.findings
            ],
        }


def offenders(jobs: Watched, documents: Iterable[Document], **facts: Any) -> list[Offender]:
    """Jobs, read with `FIELDS`, as offenders."""
    return [{jobs.id_name: document["_id"], **_facts(document), **facts} for document in documents]


def _facts(document: Document) -> Offender:
    worker = (document.get("lease") or {}).get("worker")
    return {
        "tenant_id": document["tenant_id"],
        "status": document["status"],
        "changed_at": to_iso(document["updated_at"]),
        **({"worker": worker} if worker else {}),
    }
