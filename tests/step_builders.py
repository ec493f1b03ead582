"""Steps of executions on a worker: the kernel over a store in memory, scripted models, and the step's own handler."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.agents.testing import ScriptedChat
from app.agents.tools.functions import FunctionTools
from app.agents.tools.toolbox import Toolboxes
from app.artifacts.store import ArtifactStore
from app.database.documents import Database, Documents
from app.events.live import LiveLog
from app.governance.budgets.accounts import NO_BUDGETS, Budgets
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.plugins import Evaluators
from app.jobs.models import NewJob
from app.jobs.runner import JobRunner
from app.jobs.store import JobStore
from app.llm.messages import Message
from app.llm.search import NoSearch
from app.llm.usage import ModelRole
from app.observability.redaction import Redactor
from app.replay.recordings import Recorder
from app.tasks.execution import Equipment
from app.workflows.executions.approvals import StepApprovals
from app.workflows.executions.handler import StepHandler, policy_of_step
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.executions.work import Workshop
from app.workflows.language.loading import load_workflow
from app.workflows.language.parts import FileParts
from app.workflows.plan import Plan
from tests.approval_builders import Office
from tests.budget_builders import an_enforcer
from tests.checkpoint_builders import the_checkpoints
from tests.effect_builders import a_ledger
from tests.job_builders import TENANT, FakeClock
from tests.live_builders import a_publisher
from tests.local_run_builders import PARROT
from tests.policy_builders import a_policy_enforcer
from tests.runner_builders import MakeRunner

MAILER = AgentSpec(
    name="Mailer",
    agent_type="mailer",
    description="Sends a mail and says what the model says.",
    examples=("Send it",),
    model_role=ModelRole.CONTENT,
    factory="tests.step_builders:Mailer",
)
EXECUTION_ID = "22222222-2222-4333-8444-555555555555"
PLACE = values_place_of(TENANT, EXECUTION_ID)
AGENTS = [*BUILT_IN, PARROT, MAILER]
TIMEOUT = timedelta(seconds=5)


class Mailer(BaseAgent):
    sent: ClassVar[list[str]] = []

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        async def send(key: str) -> None:
            self.sent.append(key)

        await tools.effects.perform("mail", {"to": "ada@example.com"}, send)
        artifact = await tools.artifacts.put("mail.txt", b"Hello", "text/plain")
        said = await tools.chat.complete(ModelRole.CONTENT, (Message("user", request.text),))
        return AgentOutput("sent", said.text, artifacts=(artifact,))


@dataclass
class StepWorker:
    """One worker; ``text`` is the workflow whose steps it does."""

    database: Database
    jobs: JobStore
    runner_of: MakeRunner
    clock: FakeClock
    folder: Path
    text: str = ""
    chat: ScriptedChat = field(default_factory=ScriptedChat)
    budgets: Budgets = NO_BUDGETS
    allow_commands: bool = True
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    log: LiveLog | None = None
    policy: str | None = None

    @property
    def plan(self) -> Plan:
        registry = Registry(AGENTS)
        return load_workflow(self.text, source="test.yaml", resolve=FileParts(self.folder), catalogue=registry).plan

    @property
    def values(self) -> ValueStore:
        return ValueStore(ArtifactStore(str(self.folder)))

    async def get(self, tenant_id: str, name: str, digest: str) -> Plan:
        """As `Plans` of the handler."""
        assert tenant_id == TENANT
        plan = self.plan
        assert (name, digest) == (plan.workflow.name, plan.digest)
        return plan

    def handler(self) -> StepHandler:
        budgets = an_enforcer(self.database, self.budgets, clock=self.clock)
        return StepHandler(
            self, self.values, self._workshop(), budgets=budgets, clock=self.clock, timeout=TIMEOUT, jitter=lambda: 1.0
        )

    def runner(self) -> JobRunner:
        return self.runner_of(self.handler(), timeout=10 * TIMEOUT, policy_of=policy_of_step)

    async def hand_out(self, path: str, given: Mapping[str, Any], **fields: Any) -> None:
        """As its driver does; the step's job is called like its path."""
        plan = self.plan
        document = {
            "execution_id": EXECUTION_ID,
            "workflow": {"id": "w", "name": plan.workflow.name, "digest": plan.digest},
            "path": path,
            "input": await self.values.put(PLACE, given),
            "attempts": [],
            "agent": None,
            "output": None,
            "end": None,
            "fault": None,
            "artifacts": {},
            **fields,
        }
        await self.jobs.enqueue(NewJob(path, TENANT, document, max_attempts=3))

    async def attempt(self, path: str) -> dict[str, Any]:
        """One attempt at the step, and its document afterwards."""
        await self.runner().run(path, worker="w1")
        return await self.document(path)

    async def do(self, path: str, given: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        await self.hand_out(path, given, **fields)
        return await self.attempt(path)

    async def document(self, path: str) -> dict[str, Any]:
        found = await Documents(self.database["jobs"]).find_one({"_id": path})
        assert found is not None
        return found

    async def output(self, path: str) -> Any:
        return await self.values.get(PLACE, (await self.document(path))["output"])

    def _workshop(self) -> Workshop:
        registry = Registry(AGENTS)
        toolboxes = Toolboxes(FunctionTools(registry.list_tools()), None, {})
        artifacts = ArtifactStore(str(self.folder))
        checkpoints = the_checkpoints(self.database, self.folder, clock=self.clock)
        effects = a_ledger(Documents(self.database["effects"]), clock=self.clock)
        approvals = Office(self.database, self.clock, self.folder).approvals
        policy = a_policy_enforcer(self.database, clock=self.clock, policy=self.policy, approvals=approvals)
        return Workshop(
            registry,
            PeerAgent(registry, minimum_confidence=0.5),
            self.chat,
            Equipment(NoSearch(), 5, effects, checkpoints, artifacts, toolboxes, policy),
            Evaluator(Evaluators(), _parse_nothing),
            a_publisher(self.log),
            Redactor(["key-of-the-model"]),
            Meter,
            Recorder(artifacts, room=1_000_000, mask=str, clock=self.clock),
            self.environment,
            StepApprovals(approvals),
            self.allow_commands,
        )


async def _parse_nothing(_files: Any, _text: str) -> list[Any]:
    return []
