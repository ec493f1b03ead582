"""One kind of job, with what every process needs of it."""

from dataclasses import dataclass

from app.database.documents import Documents
from app.jobs.doorbell import Bell
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of one collection; ``kind`` is its name."""

    kind: str
    documents: Documents
    store: JobStore
    recovery: Recovery
    queue: JobQueue
    bell: Bell
