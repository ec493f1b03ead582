"""Agents, tasks in words and evaluations, in this process: as a worker has them, without a store."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from app.agents.base import AgentRequest, AgentTools, OutputArtifact
from app.agents.contracts import check_inputs, check_output, find_taker
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.specs import AgentSpec
from app.agents.time_limit import within
from app.agents.tools.models import Toolbox, ToolCall
from app.agents.tools.toolbox import Toolboxes
from app.artifacts.store import ArtifactStore
from app.effects.tool import NoEffects
from app.governance.budgets.chat import BudgetedChat
from app.governance.budgets.pricing import Price
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.models import Verdict
from app.llm.messages import Chat
from app.llm.search import WebSearch
from app.observability.redaction import Redactor
from app.setting_evaluation import EvaluationRequest
from app.tasks.permitted import PermittedSearch
from app.workflows.local.attempts import Attempt
from app.workflows.local.evidence import TENANT
from app.workflows.local.policy import LocalCalls, LocalPolicy
from app.workflows.steps.transcripts import TranscribedChat, Transcript
from app.workflows.steps.words import output_of, subject_in, words_of

ROUTER, EVALUATOR = "PeerAgent", "Evaluator"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What the agents of a run may reach; ``price`` and ``max_tokens`` are for the budgets."""

    registry: Registry
    chat: Chat
    search: WebSearch
    max_sources: int
    toolboxes: Toolboxes
    evaluator: Evaluator
    new_meter: Callable[[], Meter]
    price: Price
    max_tokens: int
    minimum_confidence: float
    redactor: Redactor


@dataclass(frozen=True, slots=True)
class LocalArtifacts:
    """Keeps what agents make with the evidence of their run."""

    store: ArtifactStore

    async def put(self, name: str, data: bytes, media_type: str) -> OutputArtifact:
        kept = await self.store.put(TENANT, data, media_type)
        return OutputArtifact(name, media_type, kept.sha256, kept.size)


class Agents:
    def __init__(
        self, equipment: Equipment, artifacts: ArtifactStore, *, execution_id: str, policy: LocalPolicy | None = None
    ) -> None:
        """Without a ``policy`` agents may make every call of their tools."""
        self._equipment = equipment
        self._artifacts = LocalArtifacts(artifacts)
        self._execution_id = execution_id
        self._policy = policy

    @cached_property
    def _peer(self) -> PeerAgent:
        return PeerAgent(self._equipment.registry, minimum_confidence=self._equipment.minimum_confidence)

    def get_agent(self, name: str) -> AgentSpec:
        """By name, else by type. Raises `AgentNotFound`."""
        registry = self._equipment.registry
        return registry.find_agent(name) or registry.get_agent(name)

    async def run(self, name: str, given: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:
        """The output of a step. Raises what the agent raises, `AgentInputInvalid` and `AgentOutputInvalid`."""
        spec = self.get_agent(name)
        text, inputs = words_of(spec, given, otherwise=attempt.execute.step.description)
        return await self._produce(spec, self._request(text, inputs, attempt), attempt)

    async def run_task(self, text: str, inputs: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:
        """Routed as a task is. Raises `UnknownTaskType` as well."""
        request = self._request(text, inputs, attempt)
        registry = self._equipment.registry
        taker = find_taker(inputs, registry.list_routable())
        if taker is None:
            attempt.agent = ROUTER
            route = await self._peer.route(request, self._tools(attempt))
            taker = registry.get_agent(route.agent_name)
        return await self._produce(taker, request, attempt)

    async def evaluate(self, wanted: EvaluationRequest, task: str, output: Any, attempt: Attempt) -> Verdict:
        attempt.agent = EVALUATOR
        return await self._equipment.evaluator.evaluate(wanted, subject_in(task, output), self._tools(attempt).chat)

    def _request(self, text: str, inputs: Mapping[str, Any], attempt: Attempt) -> AgentRequest:
        task_id = f"{self._execution_id}/{attempt.path}"
        return AgentRequest(task_id, self._execution_id, TENANT, text, feedback=attempt.feedback, inputs=inputs)

    async def _produce(self, spec: AgentSpec, request: AgentRequest, attempt: Attempt) -> dict[str, Any]:
        attempt.agent = spec.name
        check_inputs(spec, request.inputs)
        # Importing one takes up to a second, which others need not wait for.
        agent = await asyncio.to_thread(self._equipment.registry.load, spec.name)
        call = ToolCall(TENANT, request.task_id)
        calls = self._policy.calls_of(attempt, spec.name) if self._policy else None
        toolbox = self._equipment.toolboxes.open(spec, call, effects=NoEffects(), guard=calls)
        tools = replace(self._tools(attempt, toolbox, calls), artifacts=self._artifacts)
        work = within(spec.timeout, agent.run(request, tools))
        output = await (calls.watch(work) if calls else work)
        check_output(spec, output)
        return output_of(output)

    def _tools(self, attempt: Attempt, toolbox: Toolbox | None = None, calls: LocalCalls | None = None) -> AgentTools:
        equipment = self._equipment
        if attempt.prompt is None:
            attempt.prompt = Transcript(equipment.redactor, attempt.folder / "prompt.txt")
        chat = TranscribedChat(BudgetedChat(equipment.chat, attempt.spending), attempt.prompt)
        search = PermittedSearch(equipment.search, calls) if calls else equipment.search
        return attempt.meter.tools(chat, search, max_sources=equipment.max_sources, toolbox=toolbox)
