"""Where a process dies, stalls or fails on purpose; set by the environment, made by wrapping methods of the product.

``CHAOS_FAILPOINTS`` is a comma-separated list of ``place:action`` or ``place:action@n``, which acts on the n-th time
only (the first, when there is none; each time with ``@*``): ``settle.before:kill``, ``claim.after:hang=3@2``. A place
is a name of `PLACES` with ``.before`` or ``.after``; actions are ``kill``, ``exit=CODE``, ``hang=SECONDS`` (the
coroutine waits), ``raise`` (the store does not answer).
"""

import asyncio
import functools
import inspect
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.artifacts.evidence import EvidenceStore
from app.artifacts.store import ArtifactStore
from app.database.documents import Documents
from app.database.errors import StoreUnavailable
from app.effects.ledger import EffectLedger
from app.governance.approvals.repository import ApprovalRepository
from app.governance.audit.repository import AuditRepository
from app.governance.policy.repository import PolicyRepository
from app.jobs.doorbell import Bell
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.tasks.aftermath import TaskAftermath
from app.tasks.handler import TaskHandler
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.driver import Driver
from app.workflows.executions.handler import StepHandler
from app.workflows.executions.hearing import Hearing
from app.workflows.executions.journal import Journal
from app.workflows.executions.opening import Opener
from app.workflows.executions.running import ExecutionRunner
from app.workflows.executions.signals import SignalBox
from app.workflows.executions.waking import Waker

VARIABLE = "CHAOS_FAILPOINTS"
Place = tuple[type, str]
PLACES: dict[str, Sequence[Place]] = {
    "enqueue": [(JobStore, "enqueue")],
    "ring": [(Bell, "ring")],
    "claim": [(JobStore, "claim"), (JobStore, "claim_first")],
    "handle": [(TaskHandler, "__call__")],
    "save": [(JobStore, "save")],
    "settle": [(JobStore, "settle")],
    "aftermath": [(TaskAftermath, "settled")],
    "release": [(Recovery, "release")],
    "mark_rung": [(Recovery, "mark_rung")],
    "park": [(JobQueue, "park")],
    "insert": [(Documents, "insert")],
    "begin_effect": [(EffectLedger, "begin")],
    "mark_effect": [(EffectLedger, "mark_done")],
    "drive": [(Driver, "drive")],
    "open_execution": [(Opener, "open")],
    "hand_out": [(Journal, "hand_out")],
    "note_end": [(Journal, "note")],
    "watch": [(Journal, "watch")],
    "mark_heard": [(Journal, "hear")],
    "hear_local": [(Hearing, "hear_local")],
    "hear_others": [(Hearing, "hear_others")],
    "step": [(StepHandler, "__call__")],
    "step_settled": [(Driver, "step_settled")],
    "look_for_news": [(Driver, "has_news")],
    "go_on": [(ExecutionRunner, "go_on")],
    "conclude": [(Conclusions, "end")],
    "keep_signal": [(SignalBox, "_keep")],
    "deliver": [(SignalBox, "deliver")],
    "wake": [(Waker, "wake")],
    "delete_blob": [(ArtifactStore, "delete"), (ArtifactStore, "delete_all")],
    "put_evidence": [(EvidenceStore, "put")],
    "change_approval": [(ApprovalRepository, "change")],
    "record": [(AuditRepository, "insert")],
    "hold_policy": [(PolicyRepository, "make_current")],
}
_SPEC = re.compile(
    r"(?P<place>\w+)\.(?P<when>before|after):(?P<action>\w+)(?:=(?P<value>[\d.]+))?(?:@(?P<nth>\d+|\*))?"
)


@dataclass(slots=True)
class Failpoint:
    """``nth`` counts down the passages until it acts, once; None acts always."""

    place: str
    when: str
    action: str
    value: float
    nth: int | None

    def is_due(self) -> bool:
        if self.nth is None:
            return True
        self.nth -= 1
        return self.nth == 0

    def act(self) -> None:
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "exit":
            os._exit(int(self.value))
        if self.action == "raise":
            raise StoreUnavailable("a failpoint says so")
        time.sleep(self.value)

    async def act_async(self) -> None:
        if self.action == "hang":
            await asyncio.sleep(self.value)
        else:
            self.act()


def parse(text: str) -> list[Failpoint]:
    """Raises `ValueError` for what is no failpoint: one that is never reached proves nothing."""
    return [_parse_one(part.strip()) for part in text.split(",") if part.strip()]


def _parse_one(text: str) -> Failpoint:
    found = _SPEC.fullmatch(text)
    if found is None or found["place"] not in PLACES or found["action"] not in {"kill", "exit", "hang", "raise"}:
        raise ValueError(f"no failpoint: {text!r}; the places are {', '.join(PLACES)}")
    nth = None if found["nth"] == "*" else int(found["nth"] or 1)
    return Failpoint(found["place"], found["when"], found["action"], float(found["value"] or 0), nth)


def install() -> None:
    """Set what the environment says."""
    for failpoint in parse(os.environ.get(VARIABLE, "")):
        for owner, name in PLACES[failpoint.place]:
            setattr(owner, name, _wrapped(getattr(owner, name), failpoint))


def _wrapped(method: Callable[..., Any], failpoint: Failpoint) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wrapper(*args: Any, **options: Any) -> Any:
            if failpoint.when == "before" and failpoint.is_due():
                await failpoint.act_async()
            answer = await method(*args, **options)
            if failpoint.when == "after" and failpoint.is_due():
                await failpoint.act_async()
            return answer

        return wrapper

    @functools.wraps(method)
    def blocking_wrapper(*args: Any, **options: Any) -> Any:
        if failpoint.when == "before" and failpoint.is_due():
            failpoint.act()
        answer = method(*args, **options)
        if failpoint.when == "after" and failpoint.is_due():
            failpoint.act()
        return answer

    return blocking_wrapper
