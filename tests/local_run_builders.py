"""Runs of workflows in this process, without a terminal and without real models."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.metering import Meter
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.agents.testing import ScriptedChat
from app.agents.tools.functions import FunctionTools
from app.agents.tools.toolbox import Toolboxes
from app.clock import Clock, utc_now
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.plugins import Evaluators
from app.governance.policy.loading import load_policy
from app.hash_chain import Event
from app.ids import new_id
from app.llm.messages import Message
from app.llm.search import NoSearch, WebSearch
from app.llm.usage import ModelRole
from app.observability.redaction import Redactor
from app.workflows.handover import checked_inputs
from app.workflows.language.expressions import Expressions
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import FileParts
from app.workflows.local.agents import Agents, Equipment
from app.workflows.local.approving import Approving
from app.workflows.local.history import History, RunStatus
from app.workflows.local.people import People
from app.workflows.local.policy import Governing, LocalPolicy
from app.workflows.local.runner import Means, Runner
from app.workflows.local.runs import Beginning, OpenRun
from app.workflows.local.steps import Steps, Surroundings
from app.workflows.steps.commands import Guard
from tests.policy_builders import a_scorer

PARROT = AgentSpec(
    name="Parrot",
    agent_type="parrot",
    description="Says what the model says, as data.",
    examples=("Say it",),
    model_role=ModelRole.CONTENT,
    factory="tests.local_run_builders:Parrot",
)

PONDERER = replace(
    PARROT,
    name="Ponderer",
    agent_type="ponderer",
    examples=("Think twice",),
    factory="tests.local_run_builders:Ponderer",
)

SEEKER = replace(
    PARROT,
    name="Seeker",
    agent_type="seeker",
    examples=("Look it up",),
    factory="tests.local_run_builders:Seeker",
)
AGENTS = (PARROT, PONDERER, SEEKER)


class Parrot(BaseAgent):
    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        asked = (Message("user", request.text), *request.corrections)
        said = await tools.chat.complete(ModelRole.CONTENT, asked)
        return AgentOutput("said", said.text, data={"word": said.text})


class Ponderer(BaseAgent):
    """Asks the model twice."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        await tools.chat.complete(ModelRole.CONTENT, (Message("user", request.text),))
        said = await tools.chat.complete(ModelRole.CONTENT, (Message("user", "Are you sure?"),))
        return AgentOutput("said", said.text)


class Seeker(BaseAgent):
    """Looks up what it is asked, and takes every refusal for an answer."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        try:
            found = await tools.search.search(request.text, max_results=1)
        except Exception as error:  # noqa: BLE001 - as careless as agents of others may be
            return AgentOutput("nothing", "", data={"text": type(error).__name__})
        return AgentOutput("found", found[0].title, data={"text": found[0].title})


@dataclass
class LocalRun:
    """One run, begun with `start` and gone on with `go_on`, each as a process of its own would."""

    root: Path
    text: str
    chat: ScriptedChat = field(default_factory=ScriptedChat)
    policy: str | None = None
    search: WebSearch = field(default_factory=NoSearch)
    clock: Clock = utc_now
    folder: Path = Path()
    happened: defaultdict[tuple[str, str | None], asyncio.Event] = field(
        default_factory=lambda: defaultdict(asyncio.Event)
    )

    @property
    def definition(self) -> Definition:
        registry = Registry([*BUILT_IN, *AGENTS])
        return load_workflow(self.text, source="test.yaml", resolve=FileParts(self.root), catalogue=registry)

    async def start(self, people: People | None = None, /, **inputs: Any) -> RunStatus:
        definition, execution_id = self.definition, new_id()
        self.folder = self.root / execution_id
        given = checked_inputs(definition.workflow, inputs)
        with OpenRun.open(self.folder, clock=self.clock) as opened:
            kept = definition.as_json()
            beginning = Beginning(execution_id, definition.workflow.name, definition.digest, "test.yaml", given, kept)
            await opened.begin(beginning)
            return await self._runner(opened, people or People()).run(given)

    async def go_on(self, people: People | None = None) -> RunStatus:
        with OpenRun.open(self.folder, clock=self.clock) as opened:
            opened.resume(self.definition.digest, self.definition.as_json())
            return await self._runner(opened, people or People()).run(await opened.inputs())

    async def fork(self, step: str) -> "LocalRun":
        forked = LocalRun(self.root, self.text, self.chat, folder=self.root / new_id())
        with OpenRun.open(self.folder, clock=utc_now) as parent, OpenRun.open(forked.folder, clock=utc_now) as opened:
            inputs, definition = await parent.inputs(), self.definition
            kept = definition.as_json()
            beginning = Beginning(forked.folder.name, "test", definition.digest, "test.yaml", inputs, kept)
            await opened.begin(beginning)
            await opened.take_over(parent.evidence, self.definition.plan, step)
        return forked

    async def outputs(self) -> Any:
        with OpenRun.open(self.folder, clock=self.clock) as opened:
            assert opened.history.outputs is not None
            return await opened.evidence.get(opened.evidence.outputs, opened.history.outputs)

    def _runner(self, opened: OpenRun, people: People) -> Runner:
        policy = self._policy_of(opened, people)
        execution_id = opened.history.execution_id
        agents = Agents(self._equipment(), opened.evidence.artifacts, execution_id=execution_id, policy=policy)
        surroundings = Surroundings(os.environ, Guard(), self.clock, opened.note)
        steps = Steps(Expressions(), opened.evidence, agents, people, surroundings, policy)
        means = Means(Expressions(), steps, Meter, _price, 100, jitter=lambda: 0.0)
        opened.watch = self._hear
        return Runner(opened, self.definition.plan, means)

    def _policy_of(self, opened: OpenRun, people: People) -> LocalPolicy | None:
        if self.policy is None:
            return None
        registry = Registry([*BUILT_IN, *AGENTS])
        governing = Governing(load_policy(self.policy), a_scorer(registry).score, registry, "me")
        approving = Approving(people, opened.note, clock=self.clock)
        return LocalPolicy(governing, self.definition.plan, opened.history, approving, opened.note, clock=self.clock)

    def _hear(self, event: Event, _: History) -> None:
        self.happened[event["event"], event.get("path")].set()

    def _equipment(self) -> Equipment:
        registry = Registry([*BUILT_IN, *AGENTS])
        servers: Mapping[str, Any] = {}
        toolboxes = Toolboxes(FunctionTools(registry.list_tools()), None, servers)
        evaluator = Evaluator(Evaluators(), _parse_nothing)
        chat, redactor = self.chat, Redactor(["key-of-the-model"])
        return Equipment(registry, chat, self.search, 5, toolboxes, evaluator, Meter, _price, 100, 0.5, redactor)


async def _parse_nothing(_files: Any, _text: str) -> list[Any]:
    return []


def _price(_model: str, _usage: Any) -> float | None:
    return None
