"""An agent that does what its task says, and keeps a history of that."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import ClassVar

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.errors import ExecutionError
from app.jobs.runner import Attempt
from app.llm.usage import ModelRole
from tests.chaos.history import PATH_VARIABLE, HistoryFile
from tests.chaos.work import AGENT, TICK, Step, Work

# Which attempt this coroutine works for: an agent is not told, and the checker must know.
current_attempt: ContextVar[Attempt] = ContextVar("current_attempt")


class Upset(ExecutionError):
    """What another attempt may help against."""

    code = "UPSET"
    retryable = True


class Refusal(ExecutionError):
    """What no attempt helps against."""

    code = "REFUSAL"


def chaos_registry() -> Registry:
    """The product's agents and ours, which run only when a task names them."""
    ours = AgentSpec(
        name=AGENT,
        agent_type="chaos",
        description="Does what a test says.",
        examples=("{}",),
        model_role=ModelRole.PEER,
        factory="tests.chaos.agents:ChaosAgent",
        routable=False,
    )
    return Registry((*BUILT_IN, ours))


@cache
def history_file() -> HistoryFile:
    return HistoryFile(Path(os.environ[PATH_VARIABLE]))


class ChaosAgent(BaseAgent):
    """Its `raw_output` is JSON that names the attempt, so that the store's document tells who wrote it."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        run = Run(current_attempt.get(), request.text)
        run.note("start")
        try:
            await run.perform_all(tools)
        except asyncio.CancelledError:
            run.note("cancelled")
            raise
        except ExecutionError as error:
            run.note("failed", error.code)
            raise
        run.note("end")
        return AgentOutput(summary=run.answer, raw_output=run.signature())


class Run:
    """One attempt of the agent."""

    def __init__(self, attempt: Attempt, text: str) -> None:
        self._attempt = attempt
        self._work = Work.model_validate_json(text)

    @property
    def answer(self) -> str:
        return self._work.answer

    def note(self, kind: str, detail: str = "") -> None:
        job = self._attempt.job
        history_file().note(
            kind,
            job.id,
            token=job.lease.token if job.lease else "",
            attempt=job.attempt,
            worker=job.lease.worker if job.lease else "",
            detail=detail,
        )

    def signature(self) -> str:
        job = self._attempt.job
        return json.dumps({"token": job.lease.token if job.lease else "", "attempt": job.attempt, "pid": os.getpid()})

    async def perform_all(self, tools: AgentTools) -> None:
        for step in self._work.steps_of(self._attempt.job.attempt):
            await self._STEPS[step.do](self, step, tools)

    async def _sleep(self, step: Step, _tools: AgentTools) -> None:
        await asyncio.sleep(step.value)

    async def _tick(self, step: Step, _tools: AgentTools) -> None:
        ends_at = time.monotonic() + step.value
        while time.monotonic() < ends_at:
            self.note("tick")
            await asyncio.sleep(TICK)

    async def _block(self, step: Step, _tools: AgentTools) -> None:
        time.sleep(step.value)  # noqa: ASYNC251 - blocking the loop is the fault

    async def _deaf(self, step: Step, _tools: AgentTools) -> None:
        ends_at = time.monotonic() + step.value
        while (left := ends_at - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(left)

    async def _gate(self, step: Step, _tools: AgentTools) -> None:
        # Looked at again and again: it is opened in another process.
        while not Path(step.name).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(TICK)

    async def _effect(self, step: Step, _tools: AgentTools) -> None:
        self.note("effect", step.name)

    async def _send(self, step: Step, tools: AgentTools) -> None:
        async def fire(key: str) -> dict[str, str]:
            self.note("sent", key)
            return {"receipt": key}

        await tools.effects.perform(step.name, {"to": "x@example.com"}, fire, receiver_deduplicates=bool(step.value))

    async def _kill_worker(self, _step: Step, _tools: AgentTools) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def _stop_loop(self, _step: Step, _tools: AgentTools) -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)

    async def _fail(self, _step: Step, _tools: AgentTools) -> None:
        raise Upset("the task says so")

    async def _refuse(self, _step: Step, _tools: AgentTools) -> None:
        raise Refusal("the task says so")

    _STEPS: ClassVar[dict[str, Callable[["Run", Step, AgentTools], Awaitable[None]]]] = {
        "sleep": _sleep,
        "tick": _tick,
        "block": _block,
        "deaf": _deaf,
        "gate": _gate,
        "effect": _effect,
        "send": _send,
        "kill_worker": _kill_worker,
        "stop_loop": _stop_loop,
        "fail": _fail,
        "refuse": _refuse,
    }
