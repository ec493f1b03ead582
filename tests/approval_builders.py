"""Approvals over a store in memory, an owner of work that says whether it waits, and people with keys."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.artifacts.evidence import EvidenceStore
from app.artifacts.store import ArtifactStore
from app.clock import Clock
from app.database.documents import Database, Documents
from app.governance.approvals.inputs import ProposedInputs
from app.governance.approvals.models import Answer, Approval, ApprovalSubject, SubjectKind
from app.governance.approvals.records import ApprovalRecords
from app.governance.approvals.repository import ApprovalRepository
from app.governance.approvals.service import Approvals
from app.governance.approvals.settling import Settlement
from app.governance.approvals.terms import ApprovalTerms
from app.governance.approvals.upkeep import ApprovalUpkeep
from app.governance.audit.repository import AuditRepository
from app.governance.audit.trail import AuditTrail
from app.identity.principals import Principal
from app.observability.redaction import Redactor
from app.settings import Role
from tests.job_builders import TENANT, FakeClock

ASKER, ANN, BOB, CAT = (Principal(TENANT, Role.MEMBER, name) for name in ("asker", "ann", "bob", "cat"))
ROOT = Principal(TENANT, Role.ADMIN, "root")
STRANGER = Principal("elsewhere", Role.ADMIN, "eve")
PEOPLE = (ASKER, ANN, BOB, CAT, ROOT, STRANGER)
GROUPS = {"legal": frozenset({"ann", "bob"})}
TEXT = "Send the offer\nto Ada\n"
SUBJECT = ApprovalSubject(SubjectKind.TASK, "t1", "the task t1", {"task_id": "t1"}, input=TEXT)


@dataclass
class Work:
    """Whose work waits; it notes what it was told, and fails to be told as often as it is to."""

    waits: bool = True
    failures: list[Exception] = field(default_factory=list)
    is_there: bool = True
    told: list[Approval] = field(default_factory=list)

    async def is_waiting(self, approval: Approval) -> bool:
        return self.waits

    async def check(self, approval: Approval, answer: Answer) -> None:
        """Everything can be gone on with."""

    async def tell(self, approval: Approval) -> bool:
        if self.failures:
            raise self.failures.pop()
        if self.is_there:
            self.told.append(approval)
        return self.is_there


@dataclass
class Office:
    database: Database
    clock: Clock
    folder: Path
    work: Work = field(default_factory=Work)
    documents: Documents | None = None

    def __post_init__(self) -> None:
        self.audit = AuditRepository(Documents(self.database["audit"]))
        trail = AuditTrail(self.audit, Redactor([]), clock=self.clock, on_lost=lambda: None)
        repository = ApprovalRepository(self.documents or Documents(self.database["approvals"]))
        self.approvals = Approvals(
            repository,
            ProposedInputs(ArtifactStore(str(self.folder))),
            ApprovalRecords(an_evidence_store(self.folder)),
            Settlement(repository, {"task_id": self.work, "step_id": self.work}, trail, clock=self.clock),
            groups=GROUPS,
            find_key=find_key,
            clock=self.clock,
        )
        self.upkeep = ApprovalUpkeep(repository, self.approvals, clock=self.clock)

    def wait(self, length: timedelta) -> None:
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(length)

    async def ask(self, subject: ApprovalSubject = SUBJECT, **terms: Any) -> Approval:
        given = ApprovalTerms.model_validate(terms)
        return await self.approvals.request(TENANT, subject, given, requested_by=ASKER.key_id)

    async def read(self, approval: Approval) -> Approval:
        return await self.approvals.get(TENANT, approval.id)

    async def recorded(self) -> list[tuple[str, str]]:
        """What the audit trail has, in order: what was done, and by whom."""
        found = await self.database["audit"].find({}).sort("seq", 1).to_list()
        return [(one["kind"], one["actor"]) for one in found]


def an_evidence_store(folder: Path) -> EvidenceStore:
    return EvidenceStore(ArtifactStore(str(folder)), lambda data: data)


def find_key(tenant_id: str, key_id: str) -> Principal | None:
    return next((one for one in PEOPLE if (one.tenant_id, one.key_id) == (tenant_id, key_id)), None)
