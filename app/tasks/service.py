"""The use cases of a task: submit, read, wait, list, cancel, retry."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.agents.registry import Registry
from app.clock import Clock
from app.database.documents import Document
from app.database.errors import DuplicateDocument
from app.errors import Conflict, Invalid, NotFound, Unavailable
from app.events.signals import Signals
from app.http.idempotency import Idempotency
from app.http.pagination import Page, PageParams
from app.ids import is_id, new_id
from app.jobs.doorbell import Bell
from app.jobs.history import read_history
from app.jobs.lanes import Stage
from app.jobs.models import Job, Reason, Status
from app.jobs.store import JobFinished, JobNotFinished, JobNotSuspended, JobStore
from app.sessions.messages import MessageLog, user_message
from app.tasks.admission import Admission
from app.tasks.clarification import named_agent, other_words
from app.tasks.evaluation import check_evaluation
from app.tasks.holds import HOLD, Answer, TaskNotWaiting, fields_to_go_on
from app.tasks.inputs import check_submitted
from app.tasks.models import (
    RESET_ON_RETRY,
    Caller,
    Submission,
    TaskAlreadyFinished,
    TaskNotFound,
    TaskNotRetryable,
    TaskQuery,
    new_task,
)
from app.tasks.repository import TaskRepository
from app.tasks.rerun import submission_of
from app.tasks.retry_policy import RetryPolicies
from app.tasks.waiting import TaskWatch, is_final

EXECUTE_ROUTE = "POST /v1/agent/execute"
DRY_RUN_ROUTE = "POST /v1/agent/route"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task that is stored; ``replayed`` when an earlier request with the same key had stored it."""

    task: Document
    replayed: bool = False


class TaskService:
    def __init__(
        self,
        store: JobStore,
        repository: TaskRepository,
        watch: TaskWatch,
        *,
        registry: Registry,
        idempotency: Idempotency,
        bell: Bell,
        signals: Signals,
        messages: MessageLog,
        admission: Admission,
        clock: Clock,
        retries: RetryPolicies,
        is_governed: Callable[[str], Awaitable[bool]],
        evaluators: Sequence[str] = (),
    ) -> None:
        """``evaluators`` are the names of those that packages bring; ``is_governed`` tells of a tenant's policy."""
        self._store = store
        self._repository = repository
        self._watch = watch
        self._registry = registry
        self._idempotency = idempotency
        self._bell = bell
        self._signals = signals
        self._messages = messages
        self._admission = admission
        self._clock = clock
        self._retries = retries
        self._is_governed = is_governed
        self._evaluators = evaluators

    async def submit(self, submission: Submission, caller: Caller, *, idempotency_key: str | None = None) -> Accepted:
        """Store the task and ring for a worker. Once this returns the task will end in a final state."""
        self._check_agent(submission)
        task_id = new_id()
        if idempotency_key is None:
            return Accepted(await self._enqueue(submission, caller, task_id))
        reserved = await self._idempotency.reserve(
            idempotency_key,
            tenant_id=caller.tenant_id,
            route=_route_of(submission),
            body=submission.as_json(),
            work_id=task_id,
        )
        if reserved != task_id and (earlier := await self._repository.find(caller.tenant_id, reserved)):
            return Accepted(earlier, replayed=True)
        # Ours, or reserved by a request that died before it stored the task: either way it is stored now.
        return await self._enqueue_reserved(submission, caller, reserved)

    async def rerun(self, caller: Caller, task_id: str, *, idempotency_key: str | None = None) -> Accepted:
        """Submit what this task was given as another one. Raises `TaskNotFound` and `TaskNotRerunnable`."""
        task = await self.get(caller.tenant_id, task_id)
        return await self.submit(submission_of(task), caller, idempotency_key=idempotency_key)

    async def get(self, tenant_id: str, task_id: str, *, wait: timedelta | None = None) -> Document:
        """The task, at once or after its next status change."""
        _check_id(task_id)
        task = await self._repository.get(tenant_id, task_id)
        if wait is None or is_final(task):
            return task
        seen = task["status"]
        return await self._watch.until(tenant_id, task_id, lambda now: now["status"] != seen, at_most=wait)

    async def wait_for_end(self, task: Document, at_most: timedelta) -> Document:
        """The task when it has ended, or as it is when the time is over."""
        try:
            return await self._watch.until(task["tenant_id"], task["_id"], is_final, at_most=at_most)
        except Unavailable:
            # It was accepted. An error now would make the client submit it a second time.
            return task

    async def get_progress(self, tenant_id: str, task_id: str) -> Document:
        return await self._repository.get_progress(tenant_id, task_id)

    async def get_attempts(self, tenant_id: str, task_id: str) -> Document:
        """What of the task tells of its attempts."""
        _check_id(task_id)
        return await self._repository.get_attempts(tenant_id, task_id)

    async def list_page(self, tenant_id: str, query: TaskQuery, params: PageParams) -> Page[Document]:
        found, total = await asyncio.gather(
            self._repository.list_page(
                tenant_id, query, limit=params.page_size + 1, skip=params.skip, after=params.after
            ),
            self._repository.count(tenant_id, query),
        )
        return Page.of(found, params, total=total)

    async def cancel(self, tenant_id: str, task_id: str) -> Document:
        """Cancel what nobody holds at once; a running task stops within a second."""
        _check_id(task_id)
        try:
            await self._store.cancel(tenant_id, task_id)
        except NotFound as error:
            raise TaskNotFound(f"no task {task_id!r}", task_id=task_id) from error
        except JobFinished as error:
            raise TaskAlreadyFinished(f"task {task_id} is already {error.details['status']}") from error
        self._signals.notify(task_id)
        return await self._repository.get(tenant_id, task_id)

    async def retry(self, tenant_id: str, task_id: str, *, idempotency_key: str | None = None) -> Document:
        """Queue a failed or cancelled task again as a new series of attempts; the same key does it once only."""
        _check_id(task_id)

        async def begin(request: str) -> Document:
            return await self._retry(tenant_id, task_id, request)

        return await self._once(tenant_id, task_id, "retry", None, begin, idempotency_key)

    async def resume(
        self, tenant_id: str, task_id: str, answer: Answer, *, idempotency_key: str | None = None
    ) -> Document:
        """Let a task that waits for this answer go on where it was; the same key does it once only."""
        _check_id(task_id)

        async def begin(request: str) -> Document:
            return await self._resume(await self._repository.get(tenant_id, task_id), answer, request)

        return await self._once(tenant_id, task_id, answer.kind, answer.body, begin, idempotency_key)

    async def clarify(
        self, tenant_id: str, task_id: str, *, agent: str | None, text: str | None, idempotency_key: str | None = None
    ) -> Document:
        """Answer which agent a task is for that waits for this: by its name, else in other words."""
        answer = named_agent(agent, self._registry, self._retries) if agent else other_words(text or "")
        return await self.resume(tenant_id, task_id, answer, idempotency_key=idempotency_key)

    async def begin_again(self, tenant_id: str, task_id: str, *, request: str, ended_at: datetime) -> bool:
        """Retry the task if that is still when it ended; whether this request has begun a new series of attempts."""
        try:
            await self._retry(tenant_id, task_id, request, ended_at=ended_at)
        except TaskNotFound:
            return False
        except TaskNotRetryable:
            task = await self._repository.find(tenant_id, task_id)
            return task is not None and was_begun_by(task, request)
        return True

    async def _once(
        self,
        tenant_id: str,
        task_id: str,
        verb: str,
        body: Any,
        begin: Callable[[str], Awaitable[Document]],
        key: str | None,
    ) -> Document:
        """What ``begin`` answers, or the task when a request with the same key has begun it."""
        request = new_id()
        if key is not None:
            task = await self._repository.get(tenant_id, task_id)
            request = await self._idempotency.reserve(
                key, tenant_id=tenant_id, route=f"POST /v1/tasks/{task_id}/{verb}", body=body, work_id=request
            )
            if was_begun_by(task, request):
                return task
        try:
            return await begin(request)
        except Conflict:
            # A simultaneous request with the same key may have been faster.
            task = await self._repository.get(tenant_id, task_id)
            if not was_begun_by(task, request):
                raise
            return task

    async def _resume(self, task: Document, answer: Answer, request: str) -> Document:
        fields = fields_to_go_on(task, answer)
        # As it was read, so that of simultaneous answers only one lets it go on.
        where = {f"{HOLD}.since": task[HOLD]["since"]}
        try:
            job = await self._store.resume(task["tenant_id"], task["_id"], where=where, fields=fields, request=request)
        except JobNotSuspended as error:
            raise TaskNotWaiting(f"task {task['_id']} waits for nobody any more") from error
        self._announce(job)
        return dict(job.document)

    async def _retry(self, tenant_id: str, task_id: str, request: str, *, ended_at: datetime | None = None) -> Document:
        try:
            job = await self._store.retry(tenant_id, task_id, reset=RESET_ON_RETRY, request=request, ended_at=ended_at)
        except NotFound as error:
            raise TaskNotFound(f"no task {task_id!r}", task_id=task_id) from error
        except JobNotFinished as error:
            message = f"task {task_id} is {error.details['status']}; only a failed or cancelled task can be retried"
            raise TaskNotRetryable(message) from error
        self._announce(job)
        return dict(job.document)

    def _check_agent(self, submission: Submission) -> None:
        names = [spec.name for spec in self._registry.list_agents()]
        if submission.agent is not None and submission.agent not in names:
            raise Invalid(f"no agent of this name; there are {', '.join(names)}", field="agent")
        if submission.agent is not None:
            check_submitted(self._registry.get_agent(submission.agent), submission.inputs)
        if submission.evaluation is not None:
            check_evaluation(submission.evaluation, self._evaluators)

    async def _enqueue_reserved(self, submission: Submission, caller: Caller, task_id: str) -> Accepted:
        try:
            return Accepted(await self._enqueue(submission, caller, task_id))
        except DuplicateDocument:
            return Accepted(await self._repository.get(caller.tenant_id, task_id), replayed=True)

    async def _enqueue(self, submission: Submission, caller: Caller, task_id: str) -> Document:
        await self._admission.admit(caller.tenant_id)
        deadline_at = self._clock() + submission.deadline if submission.deadline else None
        job = await self._store.enqueue(
            new_task(
                submission,
                caller,
                task_id=task_id,
                session_id=submission.session_id or new_id(),
                policy=self._retries.resolve(submission.retry, submission.agent),
                deadline_at=deadline_at,
                stage=await self._first_stage(submission, caller),
            )
        )
        if not submission.dry_run:
            self._messages.write_soon(user_message(dict(job.document)))
        self._announce(job)
        return dict(job.document)

    async def _first_stage(self, submission: Submission, caller: Caller) -> Stage | None:
        # What is denied, or has to be approved, should be known before the work that was there earlier is done.
        is_governed = not submission.dry_run and await self._is_governed(caller.tenant_id)
        return Stage.EVALUATION if is_governed else None

    def _announce(self, job: Job) -> None:
        if job.status is Status.QUEUED:
            self._bell.ring(job.id, job.stage)
        self._signals.notify(job.id)


def _route_of(submission: Submission) -> str:
    if submission.rerun_of is not None:
        return f"POST /v1/tasks/{submission.rerun_of}/rerun"
    return DRY_RUN_ROUTE if submission.dry_run else EXECUTE_ROUTE


def was_begun_by(task: Document, request: str) -> bool:
    """Whether this very request has queued the task again already."""
    begun = {Reason.RETRIED, Reason.RESUMED}
    return any(entry.reason in begun and entry.label == request for entry in read_history(task["history"]))


def _check_id(task_id: str) -> None:
    if not is_id(task_id):
        raise TaskNotFound(f"no task {task_id[:64]!r}: a task id is a UUID in lower case", task_id=task_id[:64])
