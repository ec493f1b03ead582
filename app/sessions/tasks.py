"""What the tasks of a session say: its turns and its totals. A task is the authority, a message only follows it."""

from datetime import datetime

from app.database.documents import NEWEST_FIRST, Document, Documents
from app.http.pagination import MOST_COUNTED
from app.jobs.models import DRY_RUN, LEGAL_HOLD
from app.sessions.models import Position, Totals, Turn

# Of tasks since what the memory covers. A window holds a few; without summaries what is older is forgotten.
MOST_TURNS = 50
COMPLETED = "completed"
FIELDS = ("created_at", "input_text", "result.raw_output")


class SessionTasks:
    def __init__(self, tasks: Documents) -> None:
        self._tasks = tasks

    async def list_turns(
        self, tenant_id: str, session_id: str, *, since: datetime, after: Position | None, before: Position
    ) -> list[Turn]:
        """The completed tasks in between, oldest first; of many the newest.

        What failed or was cancelled has no answer and is no turn: a model would answer that question as well.
        """
        begin = max(since, after.asked_at) if after else since
        where = {
            "session_id": session_id,
            "status": COMPLETED,
            DRY_RUN: None,
            "created_at": {"$gte": begin, "$lte": before.asked_at},
        }
        found = await self._tasks.of_tenant(tenant_id).find_many(
            where, sort=NEWEST_FIRST, limit=MOST_TURNS, fields=FIELDS
        )
        turns = (_turn(task) for task in reversed(found) if (task.get("result") or {}).get("raw_output"))
        return [turn for turn in turns if turn.position < before and (after is None or turn.position > after)]

    async def total(self, tenant_id: str, session_id: str, *, since: datetime) -> Totals | None:
        """None when there is no such task."""
        found = await self._tasks.of_tenant(tenant_id).aggregate(
            _of_session(session_id, since),
            [
                {"$limit": MOST_COUNTED},
                {
                    "$group": {
                        "_id": None,
                        "tasks": {"$sum": 1},
                        "tokens": {"$sum": "$cost.total_tokens"},
                        "usd": {"$sum": "$cost.usd_estimate"},
                        "created_at": {"$min": "$created_at"},
                        "last_activity_at": {"$max": "$updated_at"},
                    }
                },
            ],
        )
        return _totals(found[0]) if found else None

    async def has_task(self, tenant_id: str, session_id: str, *, since: datetime) -> bool:
        where = _of_session(session_id, since)
        return await self._tasks.of_tenant(tenant_id).find_one(where, fields=("_id",)) is not None

    async def find_held(self, tenant_id: str, session_id: str) -> str | None:
        """A task of the session that is under legal hold."""
        held = {"session_id": session_id, f"{LEGAL_HOLD}.held": True}
        found = await self._tasks.of_tenant(tenant_id).find_one(held, fields=("_id",))
        return found["_id"] if found else None


def _of_session(session_id: str, since: datetime) -> Document:
    return {"session_id": session_id, "created_at": {"$gte": since}, DRY_RUN: None}


def _turn(task: Document) -> Turn:
    return Turn(Position(task["created_at"], task["_id"]), task["input_text"], task["result"]["raw_output"])


def _totals(found: Document) -> Totals:
    return Totals(
        tasks=found["tasks"],
        tokens=found["tokens"],
        usd=round(found["usd"], 8),
        created_at=found["created_at"],
        last_activity_at=found["last_activity_at"],
    )
