"""What people may ask and say about the effects of a task."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.effects.errors import EffectNotUncertain
from app.effects.ledger import EffectLedger
from app.effects.models import Effect, EffectStatus
from app.jobs.history import count_claims
from app.jobs.models import Status

MOST_LISTED = 500

FindTask = Callable[[str, str], Awaitable[Mapping[str, Any]]]
# Keeps what was done: the tenant, the kind of act, who, to what, and the details.
RecordAct = Callable[[str, str, str, Mapping[str, str], Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Known:
    """An effect and whether somebody has to say what became of it."""

    effect: Effect
    is_uncertain: bool


class EffectService:
    def __init__(self, ledger: EffectLedger, get_task: FindTask, *, record: RecordAct) -> None:
        """``get_task`` answers the tenant's task or raises its `NotFound`."""
        self._ledger = ledger
        self._get_task = get_task
        self._record = record

    async def list_of_task(self, tenant_id: str, task_id: str) -> list[Known]:
        """The first `MOST_LISTED`, and one more when there are more."""
        task = await self._get_task(tenant_id, task_id)
        effects = await self._ledger.list_of_task(tenant_id, task_id, limit=MOST_LISTED + 1)
        return [_known(effect, task) for effect in effects]

    async def resolve(self, tenant_id: str, task_id: str, key: str, *, happened: bool, by: str) -> Known:
        """Write down what a person found out; saying the same again changes nothing."""
        task = await self._get_task(tenant_id, task_id)
        effect = await self._ledger.get(tenant_id, task_id, key)
        said = EffectStatus.DONE if happened else EffectStatus.FAILED
        if effect.resolved_by is not None and effect.status is said:
            return _known(effect, task)
        if effect.status is not EffectStatus.STARTED:
            raise EffectNotUncertain(f"effect {key} is {effect.status}: that is certain already", status=effect.status)
        if not _is_uncertain(effect, task):
            raise EffectNotUncertain(f"effect {key} is under way; wait for the end of the attempt", key=key)
        resolved = await self._ledger.resolve(tenant_id, effect, happened=happened, by=by)
        what = {"task_id": task_id, "effect": key}
        await self._record(tenant_id, "effect.resolved", by, what, {"happened": happened})
        return _known(resolved, task)


def _known(effect: Effect, task: Mapping[str, Any]) -> Known:
    return Known(effect, _is_uncertain(effect, task))


def _is_uncertain(effect: Effect, task: Mapping[str, Any]) -> bool:
    """Started, and the attempt that started it is over."""
    is_running = task["status"] == Status.PROCESSING and count_claims(task["history"]) == effect.fence
    return effect.status is EffectStatus.STARTED and not is_running
