"""The use cases that steer an execution: cancel, pause, resume, retry, signal.

Each leaves a mark on the execution and has its driver look at it; what follows is the driver's.
"""

from typing import Any

from app.clock import Clock
from app.errors import NotFound
from app.events.signals import Signals
from app.http.idempotency import Idempotency
from app.ids import new_id
from app.jobs.kind import Jobs
from app.jobs.models import Job
from app.jobs.store import JobNotFinished
from app.workflows.executions.models import ExecutionFinished, ExecutionNotFound, ExecutionNotRetryable
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.service import check_id
from app.workflows.executions.signals import Signal, SignalBox
from app.workflows.executions.waking import Waker


class Steering:
    """Each method raises `ExecutionNotFound`, and but for `retry` `ExecutionFinished` for one that has ended."""

    def __init__(
        self,
        jobs: Jobs,
        repository: ExecutionRepository,
        box: SignalBox,
        waker: Waker,
        *,
        idempotency: Idempotency,
        signals: Signals,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._repository = repository
        self._box = box
        self._waker = waker
        self._idempotency = idempotency
        self._signals = signals
        self._clock = clock

    async def cancel(self, tenant_id: str, execution_id: str, *, by: str) -> Job:
        """Steps that run are stopped, what has not begun never does, and every `finally` still runs.

        A pause is over with it, so that the execution comes to its end.
        """
        wanted = {"cancel_wanted": {"at": self._clock(), "by": by}, "paused_at": None, "paused_by": None}
        return await self._mark(tenant_id, execution_id, wanted, where={"cancel_wanted": None})

    async def pause(self, tenant_id: str, execution_id: str, *, by: str) -> Job:
        """Steps that run go on to their end, and nothing new begins; nothing for one that is being cancelled."""
        paused = {"paused_at": self._clock(), "paused_by": by}
        return await self._mark(tenant_id, execution_id, paused, where={"paused_at": None, "cancel_wanted": None})

    async def resume(self, tenant_id: str, execution_id: str, *, by: str) -> Job:
        """Let a paused execution go on; nothing for one that is not paused."""
        going_on = {"paused_at": None, "paused_by": None, "resumed_by": by}
        return await self._mark(tenant_id, execution_id, going_on, where={"paused_at": {"$ne": None}})

    async def retry(self, tenant_id: str, execution_id: str, *, by: str, idempotency_key: str | None = None) -> Job:
        """Queue a failed or cancelled execution again; steps that have finished are not done again.

        Raises `ExecutionNotRetryable`.
        """
        check_id(execution_id)
        execution = await self._repository.get(tenant_id, execution_id)
        request = new_id()
        if idempotency_key is not None:
            route = f"POST /v1/executions/{execution_id}/retry"
            request = await self._idempotency.reserve(
                idempotency_key, tenant_id=tenant_id, route=route, body=None, work_id=request
            )
        if execution.document["retry_request"] == request:
            return execution
        return await self._retry(execution, request, by)

    async def signal(
        self, tenant_id: str, execution_id: str, signal: Signal, *, by: str, idempotency_key: str | None = None
    ) -> bool:
        """Whether a step that waited for it has taken the signal; else it is kept for one."""
        check_id(execution_id)
        execution = await self._repository.get_progress(tenant_id, execution_id)
        if execution.status.is_final:
            raise ExecutionFinished(f"execution {execution_id} is already {execution.status}", status=execution.status)
        signal_id = new_id()
        if idempotency_key is not None:
            route = f"POST /v1/executions/{execution_id}/signal"
            signal_id = await self._idempotency.reserve(
                idempotency_key, tenant_id=tenant_id, route=route, body=signal.as_json(), work_id=signal_id
            )
        taken = await self._box.send(tenant_id, execution_id, signal, by=by, signal_id=signal_id)
        if taken:
            await self._waker.wake(tenant_id, execution_id, request=signal_id)
        return taken

    async def _mark(self, tenant_id: str, execution_id: str, fields: dict[str, Any], *, where: dict[str, Any]) -> Job:
        check_id(execution_id)
        await self._repository.mark(tenant_id, execution_id, fields, where=where)
        # Also when the mark was there: who left it may have died before it woke anybody.
        await self._waker.wake(tenant_id, execution_id, request=new_id())
        self._signals.notify(execution_id)
        return await self._repository.get(tenant_id, execution_id)

    async def _retry(self, execution: Job, request: str, by: str) -> Job:
        document = execution.document
        reset = {
            **dict.fromkeys(("idle_for", "paused_at", "paused_by", "cancel_wanted", "fault", "outputs")),
            "series": document["series"] + 1,
            "retry_request": request,
            "retried_by": by,
        }
        try:
            # Only the series that was read is followed: two requests at once must not count it up once only.
            begun = await self._jobs.store.retry(
                execution.tenant_id, execution.id, reset=reset, request=request, ended_at=document["completed_at"]
            )
        except NotFound as error:
            raise ExecutionNotFound(f"no execution {execution.id!r}", execution_id=execution.id) from error
        except JobNotFinished as error:
            found = await self._repository.get(execution.tenant_id, execution.id)
            if found.document["retry_request"] == request:
                return found
            status = error.details["status"]
            message = f"execution {execution.id} is {status}; only a failed or cancelled one can be retried"
            raise ExecutionNotRetryable(message) from error
        self._jobs.bell.ring(begun.id)
        self._signals.notify(begun.id)
        return begun
