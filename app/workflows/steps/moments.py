"""When a step that waits until a point in time goes on."""

from datetime import UTC, datetime
from typing import Any

from app.workflows.view import ExpressionFailed


def moment_of(given: Any, path: str) -> datetime:
    """In UTC. Raises `ExpressionFailed` for what is no point in time; ``path`` is the step's."""
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ExpressionFailed(f"{path}: wait.until is no point in time in ISO 8601") from error
    raise ExpressionFailed(f"{path}: wait.until has no time zone: end it with Z or an offset")
