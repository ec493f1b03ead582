"""The Celery tasks: each only carries an id to the worker process."""

from celery import Celery

from app.jobs.broker import PROCESS_TASK
from worker.process import WorkerProcess


def register_tasks(celery: Celery, worker: WorkerProcess) -> None:
    @celery.task(name=PROCESS_TASK)  # type: ignore[untyped-decorator]
    def process_task(task_id: str) -> None:
        worker.accept(task_id)
