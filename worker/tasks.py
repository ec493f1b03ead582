"""The Celery tasks, one for each kind of job and stage: each only carries an id to the worker process."""

from celery import Celery

from app.jobs.broker import DRIVE_EXECUTION, EVALUATE_TASK, PROCESS_STEP, PROCESS_TASK
from app.jobs.lanes import Stage
from app.tasks.models import COLLECTION as TASKS
from app.workflows.executions.models import EXECUTIONS, STEPS
from worker.process import WorkerProcess


def register_tasks(celery: Celery, worker: WorkerProcess) -> None:
    @celery.task(name=PROCESS_TASK)  # type: ignore[untyped-decorator]
    def process_task(task_id: str) -> None:
        worker.accept(TASKS, task_id)

    @celery.task(name=EVALUATE_TASK)  # type: ignore[untyped-decorator]
    def evaluate_task(task_id: str) -> None:
        worker.accept(TASKS, task_id, Stage.EVALUATION)

    @celery.task(name=PROCESS_STEP)  # type: ignore[untyped-decorator]
    def process_step(step_id: str) -> None:
        worker.accept(STEPS, step_id)

    @celery.task(name=DRIVE_EXECUTION)  # type: ignore[untyped-decorator]
    def drive_execution(execution_id: str) -> None:
        worker.accept(EXECUTIONS, execution_id)
