"""A world with an agent that says what its model says, and a model that says what the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.specs import AgentSpec
from app.llm.messages import Message
from app.llm.usage import ModelRole
from tests.api.harness import Json
from tests.api.world import PATIENCE, StartWorld, World
from tests.fakes.streaming_provider import Call, StreamingProvider, streaming_provider


class TellingAgent(BaseAgent):
    """Says what the model says, after it has left a note outside."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        async def fire(key: str) -> Any:
            return {"note": key}

        await tools.effects.perform("leave_note", {"text": "top secret"}, fire)
        answer = await tools.chat.complete(ModelRole.CONTENT, (Message("user", request.text),))
        return AgentOutput(summary="told", raw_output=answer.text)


TELLING = AgentSpec(
    name="TellingAgent",
    agent_type="telling",
    description="Tells.",
    examples=("Tell me",),
    model_role=ModelRole.CONTENT,
    factory=f"{__name__}:TellingAgent",
    routable=False,
)


@dataclass
class TellingWorld(World):
    provider: StreamingProvider = field(kw_only=True)
    attempts: list[asyncio.Task[Json]] = field(default_factory=list)

    async def submit(self) -> str:
        return await self.api.submit("Tell me", agent="TellingAgent")

    def begin(self, task_id: str) -> asyncio.Task[Json]:
        self.attempts.append(asyncio.create_task(self.work(task_id)))
        return self.attempts[-1]

    async def begin_again(self, task_id: str) -> Call:
        """The model call of the next attempt, which begins as soon as it may."""
        asked = asyncio.create_task(self.provider.next_call())
        while not asked.done():
            await asyncio.wait({asked, self.begin(task_id)}, return_when=asyncio.FIRST_COMPLETED)
        return asked.result()


@asynccontextmanager
async def started_telling_world(start_world: StartWorld, **settings: Any) -> AsyncIterator[TellingWorld]:
    """Its API is behind a socket."""
    given = {"retry_initial_sec": 0.02, **settings}
    async with (
        streaming_provider() as provider,
        start_world(TELLING, over_socket=True, openai_base_url=provider.url, **given) as world,
    ):
        telling = TellingWorld(world.api, world.worker, world.simulator, provider=provider)
        yield telling
        if telling.attempts:
            await asyncio.wait(telling.attempts, timeout=PATIENCE)
