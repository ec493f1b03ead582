"""Does a task: route it to an agent, let the agent work, keep the evidence."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import structlog

from app.agents.base import AgentOutput, AgentRequest
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.routing import Route, UnknownTaskType
from app.checkpoints.models import Ledger, thread_of
from app.checkpoints.service import AgentCheckpoints, Checkpoints
from app.clock import Clock
from app.effects.ledger import EffectLedger
from app.effects.performer import TaskEffects
from app.errors import AttemptTimeout
from app.jobs.history import count_claims
from app.jobs.outcomes import Finished, Outcome
from app.jobs.runner import Attempt
from app.llm.messages import Chat
from app.llm.search import WebSearch
from app.observability.context import bound
from app.tasks.budget import BudgetedChat
from app.tasks.retry_policy import RetryPolicies, policy_fields
from app.tasks.runs import RunRecorder, feedback_on

log = structlog.get_logger(__name__)

ROUTER = "PeerAgent"


class TaskHandler:
    """The kernel's handler for tasks. Errors are left to the kernel, which decides on retries."""

    def __init__(
        self,
        registry: Registry,
        peer: PeerAgent,
        *,
        chat: Chat,
        search: WebSearch,
        max_sources: int,
        effects: EffectLedger,
        checkpoints: Checkpoints,
        retries: RetryPolicies,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._peer = peer
        self._chat = chat
        self._search = search
        self._max_sources = max_sources
        self._effects = effects
        self._checkpoints = checkpoints
        self._retries = retries
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> Outcome:
        task = attempt.job.document
        request = await self._request(task)
        recorder = RunRecorder(attempt, clock=self._clock)
        # Fields that came later are read leniently: a deploy meets tasks that an older version stored.
        budget = task.get("budget")
        chat = BudgetedChat(self._chat, budget, task["cost"] or {}) if budget else self._chat
        with bound(session_id=task["session_id"], request_id=task["request_id"]):
            route = await self._route(attempt, request, recorder, chat)
            attempt.evidence.label = route.agent_name
            await attempt.enter(route.agent_name)
            with bound(agent_name=route.agent_name):
                output = await self._execute(attempt, route, request, recorder, chat)
            log.info("task.done", agent_type=route.agent_type, attempt=attempt.job.attempt)
        return Finished({**_routing_fields(route), "result": _result(output)})

    async def _request(self, task: Mapping[str, Any]) -> AgentRequest:
        return AgentRequest(
            task["_id"],
            task["session_id"],
            task["tenant_id"],
            task["input_text"],
            inputs=task.get("inputs") or {},
        )

    async def _route(self, attempt: Attempt, request: AgentRequest, recorder: RunRecorder, chat: Chat) -> Route:
        task = attempt.job.document
        if task["requested_agent"] is not None:
            spec = self._registry.get_agent(task["requested_agent"])
            return Route(spec.name, spec.agent_type, 1.0, "The client chose this agent.")
        if task["routing"] is not None:
            # Decided, and paid for, by an earlier attempt.
            return Route(task["selected_agent"], task["agent_type"], **_known(task["routing"]))
        try:
            with recorder.run(ROUTER, "router") as run:
                tools = run.meter.tools(chat, self._search, max_sources=self._max_sources)
                route = await self._peer.route(replace(request, feedback=feedback_on(task, ROUTER)), tools)
                run.output = f"{route.agent_name} ({route.confidence:.2f}): {route.reasoning}"
        except UnknownTaskType as error:
            attempt.evidence.fields["peer_routing_reason"] = error.details["reasoning"]
            raise
        attempt.policy = self._retries.of_agent(task, route.agent_name)
        decided = {**_routing_fields(route), **policy_fields(attempt.policy)}
        # With its price, which would be lost with the worker otherwise.
        await attempt.save({**decided, "cost": attempt.evidence.fields["cost"]})
        return route

    def _effects_of(self, attempt: Attempt) -> TaskEffects:
        job = attempt.job
        return TaskEffects(
            self._effects,
            tenant_id=job.tenant_id,
            task_id=job.id,
            attempt=job.attempt,
            fence=count_claims(job.document["history"]),
            lease=job.lease.token if job.lease else None,
            confirm=lambda: attempt.save({}),
        )

    @contextmanager
    def _checkpoints_of(
        self, attempt: Attempt, agent_name: str, meter: Meter, chat: Chat
    ) -> Iterator[AgentCheckpoints]:
        """Where the agent saves its state. What the meter counts is saved along, for an attempt that is killed."""

        def carry(spent: Mapping[str, Any]) -> None:
            meter.carry(spent)
            if isinstance(chat, BudgetedChat):
                chat.carry(spent)

        job = attempt.job
        key = thread_of(job, agent_name)
        ledger = Ledger(meter.as_document, carry, counted_to=job.document.get("cost_counted_to", 0))
        checkpoints = self._checkpoints.of_attempt(key, ledger)
        try:
            yield checkpoints
        finally:
            if checkpoints.is_stored:
                # Written together with the cost, so that the next attempt knows what is in that.
                attempt.evidence.fields["cost_counted_to"] = key.fence
                self._checkpoints.remember(job.id, checkpoints)

    async def _execute(
        self, attempt: Attempt, route: Route, request: AgentRequest, recorder: RunRecorder, chat: Chat
    ) -> AgentOutput:
        agent = self._registry.load(route.agent_name)
        with (
            recorder.run(route.agent_name, "executor") as run,
            self._checkpoints_of(attempt, route.agent_name, run.meter, chat) as checkpoints,
        ):
            tools = run.meter.tools(
                chat,
                self._search,
                max_sources=self._max_sources,
                effects=self._effects_of(attempt),
                checkpoints=checkpoints,
            )
            asked = replace(request, feedback=feedback_on(attempt.job.document, route.agent_name))
            output = await _within(self._registry.get_agent(route.agent_name).timeout, agent.run(asked, tools))
            run.output = output.raw_output
        return output


async def _within(limit: timedelta | None, work: Awaitable[AgentOutput]) -> AgentOutput:
    try:
        async with asyncio.timeout(limit.total_seconds() if limit else None) as allowed:
            return await work
    except TimeoutError as error:
        if not allowed.expired():
            raise
        raise AttemptTimeout("the agent took longer than it may") from error


def _routing_fields(route: Route) -> dict[str, Any]:
    return {
        "selected_agent": route.agent_name,
        "agent_type": route.agent_type,
        "peer_routing_reason": route.reasoning,
        "routing": {
            "agent_name": route.agent_name,
            "confidence": route.confidence,
            "reasoning": route.reasoning,
        },
    }


def _known(routing: Mapping[str, Any]) -> dict[str, Any]:
    return {"confidence": routing["confidence"], "reasoning": routing["reasoning"]}


def _result(output: AgentOutput) -> dict[str, Any]:
    return {
        "summary": output.summary,
        "raw_output": output.raw_output,
        "code_language": output.code_language,
        "citations": [asdict(citation) for citation in output.citations],
        "data": output.data,
        "files": [asdict(file) for file in output.files],
        "artifacts": [asdict(artifact) for artifact in output.artifacts],
        "notes": list(output.notes),
    }
