"""What `orchestrate replay` is told to replay: a task, or step instances of an execution."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from app.cli.server import Json, Refused, Server
from app.errors import Invalid
from app.replay.models import Recording, RecordingUnreadable

# Kinds of steps that agents carry out; what the others gave is told.
OF_AGENTS = frozenset({"agent", "task", "evaluate"})
_ENDED = frozenset({"completed", "failed", "cancelled"})
_NOT_ENDED = frozenset({"queued", "processing", "waiting", "awaiting_approval"})
PAGE = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """As the command line says it."""

    subject_id: str
    step: str | None = None
    series: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where the recordings are; ``step`` and ``kind`` are of a step, None for a task."""

    at: tuple[str, ...]
    query: dict[str, int] = field(default_factory=dict)
    step: str | None = None
    kind: str | None = None
    reused_from: str | None = None
    is_carried_out: bool = True

    @property
    def is_told(self) -> bool:
        """Whether it is not to be done again, as no agent did it: its recorded output stands."""
        return self.kind is not None and (self.kind not in OF_AGENTS or not self.is_carried_out)

    async def recordings(self, server: Server) -> list[Recording]:
        """Oldest first. Raises `RecordingUnreadable`."""
        listed = (await server.get(*self.at, "recordings", **self.query)).get("items") or []
        return [_read(await server.get(*self.at, "recordings", str(one["sha256"]), **self.query)) for one in listed]

    async def output(self, server: Server) -> Any:
        """What the step gave."""
        return (await server.get(*self.at, **self.query)).get("output")


async def find_targets(server: Server, wanted: Wanted) -> list[Target]:
    """Raises `Invalid` for what has not ended, and `Refused` for what is not there."""
    subject = wanted.subject_id
    if wanted.step is not None:
        return [await _step(server, wanted, wanted.step)]
    if wanted.series is not None:
        raise Invalid("--series is of a step: name it with --step")
    try:
        await server.get("tasks", subject, "recordings")
    except Refused as refused:
        if refused.details.get("answered") != "TASK_NOT_FOUND":
            raise
        return await _steps(server, subject, refused)
    return [Target(("tasks", subject))]


async def _step(server: Server, wanted: Wanted, path: str) -> Target:
    query = {} if wanted.series is None else {"series": wanted.series}
    item = await server.get("executions", wanted.subject_id, "steps", path, **query)
    if item["status"] in _NOT_ENDED:
        raise Invalid(f"step {path} is {item['status']}: it can be replayed when it has ended")
    return _target(wanted.subject_id, item)


async def _steps(server: Server, execution_id: str, no_task: Refused) -> list[Target]:
    try:
        status = str((await server.get("executions", execution_id, "status"))["status"])
    except Refused as refused:
        if refused.details.get("answered") != "EXECUTION_NOT_FOUND":
            raise
        raise Refused(f"{no_task.message}, and there is no execution of this id") from refused
    if status not in _ENDED:
        raise Invalid(f"execution {execution_id} is {status}: wait for its end, or name a step that has with --step")
    # Of each instance the newest: a retry took over what stood, and did the rest again.
    newest: dict[str, Json] = {}
    async for item in _list(server, execution_id):
        newest[item["path"]] = max(item, newest.get(item["path"], item), key=lambda one: int(one["series"]))
    return [_target(execution_id, item) for item in newest.values()]


async def _list(server: Server, execution_id: str) -> AsyncIterator[Json]:
    cursor: str | None = None
    while True:
        page = await server.get("executions", execution_id, "steps", page_size=PAGE, cursor=cursor)
        for item in page["items"]:
            yield item
        cursor = page.get("next_cursor")
        if cursor is None:
            return


def _target(execution_id: str, item: Json) -> Target:
    path = str(item["path"])
    return Target(
        ("executions", execution_id, "steps", path),
        {"series": int(item["series"])},
        path,
        str(item["kind"]),
        item.get("reused_from"),
        bool(item["attempt"]) and not item.get("reused_from"),
    )


def _read(answer: Json) -> Recording:
    try:
        return Recording.model_validate(answer)
    except ValidationError as error:
        raise RecordingUnreadable("the server's recording is not one that this version can read") from error
