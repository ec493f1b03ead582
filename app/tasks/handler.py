"""Does a task: route it to an agent, let the agent work, keep the evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from app.agents.base import AgentRequest
from app.agents.contracts import find_taker
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.routing import Route, RoutingRule, Unrouted
from app.clock import Clock
from app.events.publishing import LiveAttempt, LivePublisher
from app.governance.budgets.chat import BudgetedChat
from app.governance.budgets.models import BudgetExceeded
from app.governance.budgets.spending import BudgetEnforcer, Spending
from app.jobs.outcomes import Evaluated, Finished, Outcome
from app.jobs.runner import Attempt
from app.llm.messages import Chat
from app.observability.context import bound
from app.replay.recordings import Recorder
from app.replay.tape import routed
from app.sessions.memory import SessionMemory
from app.sessions.models import Memory, Turn
from app.sessions.summary import summarise
from app.tasks.approval import held_for_approval
from app.tasks.budget import held_by_budget
from app.tasks.clarification import clarified_text
from app.tasks.execution import AgentExecution, Equipment
from app.tasks.inputs import read_inputs
from app.tasks.models import ROUTER, agent_of, is_dry_run, is_to_be_evaluated
from app.tasks.policy import ApprovalNeeded, note_decision
from app.tasks.policy_facts import question_of_task
from app.tasks.quality import QualityGate, outcome_of
from app.tasks.retry_policy import RetryPolicies, policy_fields
from app.tasks.review import outcome_of_review
from app.tasks.routing import chosen_by_client, chosen_by_input, known_route, routing_fields, without_agent
from app.tasks.runs import RunRecorder

log = structlog.get_logger(__name__)

MEMORY = "SessionMemory"


class TaskHandler:
    """The kernel's handler for tasks. Errors are left to the kernel, which decides on retries."""

    def __init__(
        self,
        registry: Registry,
        peer: PeerAgent,
        *,
        chat: Chat,
        equipment: Equipment,
        memory: SessionMemory,
        publisher: LivePublisher,
        quality: QualityGate,
        retries: RetryPolicies,
        budgets: BudgetEnforcer,
        clock: Clock,
        recorder: Recorder,
        new_meter: Callable[[], Meter] = Meter,
    ) -> None:
        self._registry = registry
        self._peer = peer
        self._chat = chat
        self._equipment = equipment
        self._memory = memory
        self._publisher = publisher
        self._quality = quality
        self._retries = retries
        self._budgets = budgets
        self._clock = clock
        self._recorder = recorder
        self._new_meter = new_meter

    async def __call__(self, attempt: Attempt) -> Outcome:
        # Before everything that could keep a reviewed output back: it is there, and costs nothing more.
        attempt.evidence.label = agent_of(attempt.job.document)
        if finished := outcome_of_review(attempt.job.document):
            return finished
        async with self._publisher.of_attempt(attempt.job) as live:
            return await self._carry_out(attempt, live)

    async def _carry_out(self, attempt: Attempt, live: LiveAttempt) -> Outcome:
        task = attempt.job.document
        spending = self._budgets.of_attempt(task, agent=agent_of(task) or ROUTER)
        runs = self._new_runs(attempt, live)
        try:
            return await spending.timed(lambda: self._work(attempt, runs, spending))
        except BudgetExceeded as error:
            if not spending.asks:
                raise
            return held_by_budget(error.shortage, since=self._clock())
        except ApprovalNeeded as needed:
            note_decision(attempt, needed.note)
            return held_for_approval(needed.approval, since=self._clock())
        finally:
            attempt.evidence.fields.update(spending.as_fields())
            # A dry run is removed by the store, which would leave its recording behind.
            if not is_dry_run(task):
                await self._recorder.keep(attempt, runs.tapes.recording)

    def _new_runs(self, attempt: Attempt, live: LiveAttempt) -> RunRecorder:
        new_tape = self._recorder.new_tape
        return RunRecorder(attempt, live, clock=self._clock, new_meter=self._new_meter, new_tape=new_tape)

    async def _work(self, attempt: Attempt, recorder: RunRecorder, spending: Spending) -> Outcome:
        task = attempt.job.document
        chat = BudgetedChat(self._chat, spending)
        with bound(session_id=task["session_id"], request_id=task["request_id"]):
            request = await self._request(task, recorder, chat)
            route = await self._route(attempt, request, recorder, chat)
            if isinstance(route, Unrouted):
                return without_agent(task, route, now=self._clock())
            if is_dry_run(task):
                return Finished(routing_fields(route))
            attempt.evidence.label = route.agent_name
            request = await self._permitted(attempt, route, request)
            if is_to_be_evaluated(task):
                return Evaluated(task["tenant_id"])
            await attempt.enter(route.agent_name)
            await spending.enter(route.agent_name)
            with bound(agent_name=route.agent_name):
                outcome = await self._produce(attempt, route, request, recorder, chat)
            log.info("task.done", agent_type=route.agent_type, attempt=attempt.job.attempt)
        return outcome

    async def _request(self, task: Mapping[str, Any], recorder: RunRecorder, chat: Chat) -> AgentRequest:
        async def condense(memory: Memory | None, turns: Sequence[Turn]) -> Memory:
            with recorder.run(MEMORY, "memory") as run:
                tools = run.meter.tools(chat, self._equipment.search)
                condensed = await summarise(tools.chat, memory, turns)
                run.output = condensed.text
            return condensed

        return AgentRequest(
            task["_id"],
            task["session_id"],
            task["tenant_id"],
            clarified_text(task),
            inputs=read_inputs(task),
            history=await (self._memory.peek(task) if is_dry_run(task) else self._memory.recall(task, condense)),
        )

    async def _permitted(self, attempt: Attempt, route: Route, request: AgentRequest) -> AgentRequest:
        """The request as the policy, or people that it asks, let it pass. Raises as `PolicyEnforcer.check`."""
        policy = self._equipment.policy
        if not await policy.is_asked(request.tenant_id):
            return request
        passed = await policy.permit(attempt, question_of_task(attempt.job, route.agent_name))
        return request if passed.edited_input is None else replace(request, text=passed.edited_input)

    async def _route(
        self, attempt: Attempt, request: AgentRequest, recorder: RunRecorder, chat: Chat
    ) -> Route | Unrouted:
        task = attempt.job.document
        if known := known_route(task):
            return known
        found = self._route_by_request(task, request) or await self._ask_peer(request, recorder, chat)
        fields = routing_fields(found)
        if isinstance(found, Unrouted) or found.grounds.rule is RoutingRule.CLIENT_CHOICE:
            # Costs nothing to find out again.
            attempt.evidence.fields.update(fields)
            return found
        attempt.policy = self._retries.of_agent(task, found.agent_name)
        # With its price, which would be lost with the worker otherwise.
        cost = attempt.evidence.fields.get("cost", task["cost"])
        await attempt.save({**fields, **policy_fields(attempt.policy), "cost": cost})
        return found

    def _route_by_request(self, task: Mapping[str, Any], request: AgentRequest) -> Route | None:
        if task["requested_agent"] is not None:
            return chosen_by_client(self._registry.get_agent(task["requested_agent"]))
        taker = find_taker(request.inputs, self._registry.list_routable())
        return chosen_by_input(taker) if taker else None

    async def _ask_peer(self, request: AgentRequest, recorder: RunRecorder, chat: Chat) -> Route | Unrouted:
        with recorder.run(ROUTER, "router") as run:
            tools = run.meter.tools(chat, self._equipment.search)
            asked = replace(request, feedback=recorder.feedback_on(ROUTER))
            found = await self._peer.consider(asked, run.recorded(tools, asked))
            run.finish(routed(found.agent_name, found.confidence))
            run.output = f"{found.agent_name} ({found.confidence:.2f}): {found.reasoning}"
        return found

    async def _produce(
        self, attempt: Attempt, route: Route, request: AgentRequest, recorder: RunRecorder, chat: BudgetedChat
    ) -> Outcome:
        execution = AgentExecution(self._registry, self._equipment, attempt, recorder, chat)
        judged = await self._quality.produce(
            attempt,
            route.agent_name,
            lambda feedback: execution.run(route.agent_name, replace(request, feedback=feedback)),
            recorder,
            chat,
        )
        return outcome_of(judged, agent_type=route.agent_type, now=self._clock())
