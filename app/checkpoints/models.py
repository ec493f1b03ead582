"""Whose state it is, and who may write it."""

from collections.abc import Callable
from dataclasses import dataclass

from app.artifacts.places import Part, place_of
from app.database.documents import Document
from app.database.indexes import Index
from app.jobs.history import count_claims
from app.jobs.models import Job, Reason

COLLECTION = "checkpoints"
INDEXES = (
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),
    # For those that name blobs, which the TTL index would leave behind.
    Index(COLLECTION, (("erase_at", 1),), {"sparse": True}),
)


@dataclass(frozen=True, slots=True)
class ThreadKey:
    """One agent's state in one series of attempts, as one attempt sees it.

    ``fence`` grows with every claim of the job, charged or not, so the attempt that replaced another has the higher
    one. ``is_new`` is True in the first attempt of the series: nothing can have been saved before it. A step names its
    execution.
    """

    thread_id: str
    tenant_id: str
    fence: int
    is_new: bool = False
    execution_id: str | None = None

    @property
    def place(self) -> str:
        """Where in the artifact store what is too large for the thread's document is."""
        return place_of(self.tenant_id, self.execution_id or self.thread_id.split("/", 1)[0], Part.CHECKPOINTS)


@dataclass(frozen=True, slots=True)
class Ledger:
    """How what an attempt has spent gets into its checkpoints, and what a killed one had spent back out of them.

    An attempt may work on a thread in several rounds, and reports after each. ``counted_to`` is the last round that
    could report what it had spent in the ordinary way: its attempt's fence, and its number in the attempt.
    """

    read: Callable[[], Document]
    carry: Callable[[Document], None]
    counted_to: tuple[int, int] = (0, 0)
    round: int = 1


def thread_of(job: Job, agent_name: str) -> ThreadKey:
    """The thread of an agent's work on a job; a retry by hand begins a new series and with it a new thread."""
    entries = job.document["history"]
    reasons = [entry["reason"] for entry in entries]
    series = reasons.count(Reason.RETRIED)
    begin = len(reasons) - reasons[::-1].index(Reason.RETRIED) if series else 0
    return ThreadKey(
        thread_id=f"{job.id}/{series}/{agent_name}",
        tenant_id=job.tenant_id,
        fence=count_claims(entries),
        is_new=count_claims(entries[begin:]) == 1,
        execution_id=job.document.get("execution_id"),
    )
