"""One agent's work on a task, with everything it may reach: tools, checkpoints, effects and artifacts."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from app.agents.base import AgentOutput, AgentRequest, BaseAgent
from app.agents.contracts import check_inputs, check_output, check_texts
from app.agents.metering import Meter
from app.agents.registry import Registry
from app.agents.specs import AgentSpec
from app.agents.streaming import in_public
from app.agents.time_limit import within
from app.agents.tools.models import Toolbox, ToolCall
from app.agents.tools.toolbox import Toolboxes
from app.artifacts.store import ArtifactStore
from app.checkpoints.models import Ledger, thread_of
from app.checkpoints.service import AgentCheckpoints, Checkpoints
from app.effects.ledger import EffectLedger
from app.effects.performer import TaskEffects
from app.governance.budgets.chat import BudgetedChat
from app.jobs.history import count_claims
from app.jobs.runner import Attempt
from app.llm.search import WebSearch
from app.tasks.artifacts import TaskArtifacts, digests_of
from app.tasks.permitted import PermittedEffects, PermittedSearch
from app.tasks.policy import PolicyEnforcer
from app.tasks.runs import Run, counted_fields, counted_in
from app.tasks.tool_policy import ToolPolicy


@dataclass(frozen=True, slots=True)
class Equipment:
    """What agents may reach, in one worker process."""

    search: WebSearch
    max_sources: int
    effects: EffectLedger
    checkpoints: Checkpoints
    artifacts: ArtifactStore
    toolboxes: Toolboxes
    policy: PolicyEnforcer


class Runs(Protocol):
    """Notes what agents do in one attempt; tasks keep each run, and steps of workflows what all come to."""

    def run(self, agent_name: str, agent_role: str) -> AbstractContextManager[Run]: ...

    def feedback_on(self, agent_name: str) -> str | None:
        """Why the last answer that this agent gave in an earlier attempt was refused; None when it was not."""
        ...


class AgentExecution:
    """Has an agent do its part of one attempt, as often as it is asked to."""

    def __init__(
        self, registry: Registry, equipment: Equipment, attempt: Attempt, runs: Runs, chat: BudgetedChat
    ) -> None:
        self._registry = registry
        self._equipment = equipment
        self._attempt = attempt
        self._runs = runs
        self._chat = chat
        self._rounds: Counter[str] = Counter()
        # In all rounds: what the task has noted must not be forgotten by the next one.
        self._noted_artifacts = digests_of(attempt.job.document)

    async def run(self, agent_name: str, request: AgentRequest) -> AgentOutput:
        """A checked answer. Raises what the agent raises, `AgentInputInvalid` and `AgentOutputInvalid`."""
        spec = self._registry.get_agent(agent_name)
        artifacts = TaskArtifacts(self._equipment.artifacts, self._attempt, self._noted_artifacts)
        check_inputs(spec, request.inputs)
        agent, calls = await self._load(spec.name), ToolPolicy(self._equipment.policy, self._attempt, spec.name)
        asked = replace(request, feedback=request.feedback or self._runs.feedback_on(agent_name))
        with (
            self._runs.run(agent_name, "executor") as run,
            self._checkpoints_of(agent_name, run.meter) as checkpoints,
        ):
            tools = run.meter.tools(
                self._chat,
                PermittedSearch(self._equipment.search, calls),
                max_sources=self._equipment.max_sources,
                effects=PermittedEffects(self._effects(), calls),
                checkpoints=checkpoints,
                toolbox=self._toolbox(spec, calls),
            )
            public = in_public(replace(tools, artifacts=artifacts), run.live)
            work = agent.run(asked, run.recorded(public, asked, version=spec.version))
            output = await calls.watch(within(spec.timeout, work))
            check_texts(spec, output)
            run.output = output.raw_output
            check_output(spec, output)
            artifacts.confirm(output.artifacts)
            run.finish(output)
        return output

    async def _load(self, agent_name: str) -> BaseAgent:
        loaded = self._registry.find_loaded(agent_name)
        if loaded is None:
            # An import would hold up the event loop, and with it whatever others wait for.
            loaded = await asyncio.to_thread(self._registry.load, agent_name)
        return loaded

    def _effects(self) -> TaskEffects:
        job = self._attempt.job
        return TaskEffects(
            self._equipment.effects,
            tenant_id=job.tenant_id,
            task_id=job.id,
            attempt=job.attempt,
            fence=count_claims(job.document["history"]),
            lease=job.lease.token if job.lease else None,
            confirm=lambda: self._attempt.save({}),
        )

    @contextmanager
    def _checkpoints_of(self, agent_name: str, meter: Meter) -> Iterator[AgentCheckpoints]:
        """Where the agent saves its state. What the meter counts is saved along, for an attempt that is killed."""

        def carry(spent: Mapping[str, Any]) -> None:
            meter.carry(spent)
            self._chat.carry(spent)

        job = self._attempt.job
        key, counted_to = thread_of(job, agent_name), counted_in(job.document)
        self._rounds[agent_name] += 1
        this_round = self._rounds[agent_name]
        if this_round > 1:
            # What the thread has of this attempt is in its cost already.
            key, counted_to = replace(key, is_new=False), (key.fence, this_round - 1)
        ledger = Ledger(meter.as_document, carry, counted_to=counted_to, round=this_round)
        checkpoints = self._equipment.checkpoints.of_attempt(key, ledger)
        try:
            yield checkpoints
        finally:
            if checkpoints.is_stored:
                # Written together with the cost, so that the next attempt knows what is in that.
                self._attempt.evidence.fields.update(counted_fields(key.fence, this_round))
                self._equipment.checkpoints.remember(job.id, checkpoints)

    def _toolbox(self, spec: AgentSpec, calls: ToolPolicy) -> Toolbox:
        call = ToolCall(self._attempt.job.tenant_id, self._attempt.job.id)
        return self._equipment.toolboxes.open(spec, call, effects=self._effects(), guard=calls)


def result_of(output: AgentOutput) -> dict[str, Any]:
    """The output as it is stored with its task."""
    return {
        "summary": output.summary,
        "raw_output": output.raw_output,
        "code_language": output.code_language,
        "citations": [asdict(citation) for citation in output.citations],
        # As text, like the input: the driver gives names such as `$ref` a meaning, and numbers a limit.
        "data": None if output.data is None else json.dumps(output.data),
        "files": [asdict(file) for file in output.files],
        "artifacts": [asdict(artifact) for artifact in output.artifacts],
        "notes": list(output.notes),
    }
