"""What clients asked for and were told: every request and its answer, kept for the checker."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.repeating import Repeating
from tests.chaos.work import AGENT, Work
from tests.processes import NotInTime, until

Json = dict[str, Any]
FINAL = frozenset({"completed", "failed", "cancelled"})
EXECUTE = "/v1/agent/execute"
PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` is None when none came: the request may have been heard or not. ``body`` is JSON or None."""

    path: str
    sent_at: float
    at: float
    status: int | None
    body: Any = None
    key: str | None = None
    retry_after: float | None = None

    @property
    def task_id(self) -> str:
        return str(self.body["task_id"])

    @property
    def work_id(self) -> str:
        """Of the task or the execution that was accepted."""
        return str(self.body.get("execution_id") or self.body["task_id"])

    @property
    def is_acceptance(self) -> bool:
        return self.status == 202 and self.path.endswith("/execute")

    @property
    def is_unknown(self) -> bool:
        """Whether the work was stored cannot be told: no answer, or the store's may have been lost."""
        return self.status is None or self.status >= 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A task as a client saw it, when it asked and when it was told."""

    task_id: str
    sent_at: float
    at: float
    task: Json


class ChaosClient:
    """One API as many clients see it; may be used by many threads."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        self.answers: list[Answer] = []
        self.snapshots: list[Snapshot] = []
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        self.http = httpx.Client(base_url=url, headers=headers, timeout=30.0, trust_env=False, limits=limits)
        self._lock = threading.Lock()

    def close(self) -> None:
        self.http.close()

    @property
    def accepted(self) -> list[str]:
        """Every task a client was told to be accepted, once."""
        with self._lock:
            found = [one.task_id for one in self.answers if one.path == EXECUTE and one.status == 202]
        return list(dict.fromkeys(found))

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        """Ask once, whatever comes of it."""
        sent_at = time.monotonic()
        try:
            response = self.http.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
        except httpx.TransportError:
            answer = Answer(path, sent_at, time.monotonic(), None, key=key)
        else:
            answer = _answer_of(response, path, sent_at, key)
        with self._lock:
            self.answers.append(answer)
        return answer

    def try_submit(self, work: Work, *, key: str | None = None, **body: Any) -> Answer:
        return self.post(EXECUTE, {"task": work.text, "agent": AGENT, **body}, key=key)

    def submit(self, work: Work, *, key: str | None = None, **body: Any) -> str:
        """The id of the accepted task; fails when it is not accepted at once."""
        answer = self.try_submit(work, key=key, **body)
        assert answer.status == 202, answer
        return answer.task_id

    def submit_stubbornly(self, work: Work, *, key: str, patience: float = 30.0, **body: Any) -> str:
        """As a good client does it: the same key again until there is an answer."""
        ends_at = time.monotonic() + patience
        while time.monotonic() < ends_at:
            answer = self.try_submit(work, key=key, **body)
            if answer.status == 202:
                return answer.task_id
            assert answer.is_unknown or answer.status == 429, answer
            time.sleep(PAUSE)
        raise NotInTime(f"not accepted within {patience:g} s: {key}")

    def find(self, task_id: str) -> Json | None:
        """The task, also kept as a snapshot; None when the API does not answer."""
        sent_at = time.monotonic()
        task = self.get(f"/v1/tasks/{task_id}")
        if task is None:
            return None
        with self._lock:
            self.snapshots.append(Snapshot(task_id, sent_at, time.monotonic(), task))
        return task

    def get(self, path: str) -> Json | None:
        """None when the API does not answer, or cannot."""
        try:
            response = self.http.get(path)
        except httpx.TransportError:
            return None
        if response.status_code >= 500:
            return None
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    def read(self, task_id: str) -> Json:
        task = self.find(task_id)
        assert task is not None, f"no answer about {task_id}"
        return task

    def final(self, task_id: str, *, patience: float = 20.0) -> Json:
        """The task once it has ended."""
        return until(lambda: self._in(task_id, FINAL), f"{task_id} ends", patience=patience)

    def in_status(self, task_id: str, status: str, *, patience: float = 20.0) -> Json:
        return until(lambda: self._in(task_id, {status}), f"{task_id} is {status}", patience=patience)

    def all_final(self, *, patience: float = 30.0) -> list[Json]:
        """Every accepted task, once all have ended."""
        ends_at = time.monotonic() + patience
        return [self.final(task_id, patience=max(ends_at - time.monotonic(), 1.0)) for task_id in self.accepted]

    def cancel(self, task_id: str) -> Answer:
        return self.post(f"/v1/tasks/{task_id}/cancel")

    def retry(self, task_id: str) -> Answer:
        return self.post(f"/v1/tasks/{task_id}/retry")

    def _in(self, task_id: str, statuses: frozenset[str] | set[str]) -> Json | None:
        task = self.find(task_id)
        return task if task and task["status"] in statuses else None


class Watcher(Repeating):
    """Looks at every open task again and again, for what must not change any more."""

    def __init__(self, client: ChaosClient, *, pause: float = 0.2) -> None:
        super().__init__("chaos-watcher", pause=pause)
        self._client = client

    def look(self) -> None:
        for task_id in self._client.accepted:
            if self.is_over:
                return
            self._client.find(task_id)


def _answer_of(response: httpx.Response, path: str, sent_at: float, key: str | None) -> Answer:
    is_json = "json" in response.headers.get("content-type", "")
    retry_after = response.headers.get("retry-after")
    return Answer(
        path,
        sent_at,
        time.monotonic(),
        response.status_code,
        response.json() if is_json else None,
        key,
        float(retry_after) if retry_after else None,
    )
