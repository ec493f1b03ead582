"""The time that an agent may take for one answer."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

from app.agents.base import AgentOutput
from app.errors import AttemptTimeout


async def within(limit: timedelta | None, work: Awaitable[AgentOutput]) -> AgentOutput:
    """Raises `AttemptTimeout` when the agent takes longer."""
    try:
        async with asyncio.timeout(limit.total_seconds() if limit else None) as allowed:
            return await work
    except TimeoutError as error:
        if not allowed.expired():
            raise
        raise AttemptTimeout("the agent took longer than it may") from error
