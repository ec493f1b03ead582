"""What a step does on a worker, for each kind: from its rendered input to its output."""

import shutil
import tempfile
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.agents.base import AgentRequest
from app.agents.contracts import find_taker
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.routing import Unrouted
from app.agents.specs import AgentSpec
from app.artifacts.evidence import DIGESTS
from app.artifacts.places import Part, place_of_job
from app.errors import AttemptTimeout, ExecutionError, Invalid
from app.events.publishing import LivePublisher
from app.governance.budgets.chat import BudgetedChat
from app.governance.budgets.spending import Spending
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.models import EVALUATION, EVALUATOR, EVALUATOR_ROLE, Verdict, subject_of
from app.jobs.runner import Attempt
from app.llm.messages import Chat
from app.observability.redaction import Redactor
from app.replay.models import EVALUATED
from app.replay.recordings import Recorder
from app.replay.tape import routed
from app.setting_evaluation import EvaluationRequest
from app.tasks.execution import AgentExecution, Equipment
from app.tasks.models import ROUTER
from app.tasks.quality import verdict_as_output
from app.workflows.executions.approvals import StepApprovals
from app.workflows.executions.attempts import StepRuns
from app.workflows.language.models import ApprovalSpec, EvaluateSpec, Step
from app.workflows.steps.approvals import decided
from app.workflows.steps.commands import Guard, program_of, run_program, said_by
from app.workflows.steps.evaluating import cannot_be_asked_again, evaluated
from app.workflows.steps.files import read_file
from app.workflows.steps.words import output_of, result_in, words_of

Given = Mapping[str, Any]


class CommandsNotAllowed(ExecutionError):
    code = "COMMANDS_NOT_ALLOWED"
    title = "Commands not allowed"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What steps may reach in one worker process; ``environment`` is where secrets and the PATH are found."""

    registry: Registry
    peer: PeerAgent
    chat: Chat
    equipment: Equipment
    evaluator: Evaluator
    publisher: LivePublisher
    redactor: Redactor
    new_meter: Callable[[], Meter]
    recorder: Recorder
    environment: Mapping[str, str] = field(repr=False)
    approvals: StepApprovals
    allow_commands: bool = False
    guard: Guard = field(default_factory=Guard)


class StepWork:
    """One attempt's. ``artifacts`` are the files that its program left and that are to be kept, by name."""

    def __init__(
        self,
        workshop: Workshop,
        step: Step,
        attempt: Attempt,
        runs: StepRuns,
        spending: Spending,
        chat: BudgetedChat,
    ) -> None:
        self.artifacts: dict[str, Any] = {}
        self._workshop = workshop
        self._step = step
        self._attempt = attempt
        self._runs = runs
        self._spending = spending
        self._chat = chat
        self._execution = AgentExecution(workshop.registry, workshop.equipment, attempt, runs, chat)

    async def run(self, given: Given) -> Any:
        """The step's output, unchecked. Raises the step's errors, `LeaseLost` and `NotAdmitted`."""
        step = self._step
        if step.agent is not None:
            return await self._agent(step.agent, given)
        if step.task is not None:
            return await self._task(given["task"], given.get("with") or {})
        if step.evaluate is not None:
            return await self._evaluate(step.evaluate, given["evaluate"])
        if step.command is not None:
            return await self._command(given)
        if step.wait is not None:
            return _waited(given["wait"])
        if step.approval is not None:
            return await self._expired(step.approval)
        raise Invalid(f"a step of kind {step.kind} is not carried out by itself")

    async def _agent(self, name: str, given: Given, feedback: str | None = None) -> dict[str, Any]:
        registry = self._workshop.registry
        spec = registry.find_agent(name) or registry.get_agent(name)
        otherwise = given.get("description") or self._step.description
        text, inputs = words_of(spec, given.get("with") or {}, otherwise=otherwise)
        return await self._produce(spec, self._request(text, inputs, feedback))

    async def _task(self, text: str, inputs: Given, feedback: str | None = None) -> dict[str, Any]:
        """Routed as a task is."""
        request = self._request(text, inputs, feedback)
        taker = find_taker(inputs, self._workshop.registry.list_routable()) or await self._routed(request)
        return await self._produce(taker, request)

    async def _routed(self, request: AgentRequest) -> AgentSpec:
        with self._runs.run(ROUTER, "router") as run:
            tools = run.meter.tools(self._chat, self._workshop.equipment.search)
            asked = replace(request, feedback=request.feedback or self._runs.feedback_on(ROUTER))
            found = await self._workshop.peer.consider(asked, run.recorded(tools, asked))
            run.finish(routed(found.agent_name, found.confidence))
        if isinstance(found, Unrouted):
            raise found.error
        return self._workshop.registry.get_agent(found.agent_name)

    def _request(self, text: str, inputs: Given, feedback: str | None) -> AgentRequest:
        job = self._attempt.job
        session_id = job.document["execution_id"]
        return AgentRequest(job.id, session_id, job.tenant_id, text, feedback=feedback, inputs=inputs)

    async def _produce(self, spec: AgentSpec, request: AgentRequest) -> dict[str, Any]:
        await self._attempt.enter(spec.name)
        await self._spending.enter(spec.name)
        return output_of(await self._execution.run(spec.name, request))

    async def _evaluate(self, spec: EvaluateSpec, given: Given) -> dict[str, Any]:
        async def judge(wanted: EvaluationRequest, output: Any) -> Verdict:
            return await self._judge(wanted, given["task"], result_in(output))

        async def again(feedback: str) -> dict[str, Any]:
            asked = given.get("again")
            if asked is None:
                raise cannot_be_asked_again(spec.step)
            if "agent" in asked:
                return await self._agent(asked["agent"], asked, feedback)
            return await self._task(asked["task"], asked.get("with") or {}, feedback)

        return await evaluated(spec, given["output"], judge, again)

    async def _judge(self, wanted: EvaluationRequest, task: str, result: Given) -> Verdict:
        await self._spending.enter(EVALUATOR)
        with self._runs.run(EVALUATOR, EVALUATOR_ROLE) as run:
            inputs = {EVALUATION: wanted.model_dump(mode="json", by_alias=True), EVALUATED: result}
            tools = run.meter.tools(self._chat, self._workshop.equipment.search)
            chat = run.recorded(tools, self._request(task, inputs, None)).chat
            verdict = await self._workshop.evaluator.evaluate(wanted, subject_of(task, result), chat)
            run.finish(verdict_as_output(verdict))
        return verdict

    async def _command(self, given: Given) -> dict[str, Any]:
        workshop = self._workshop
        if not workshop.allow_commands:
            raise CommandsNotAllowed(
                "no worker that runs programs took this step: start one with WORKER_ALLOW_COMMANDS=true, or the stack "
                "with `orchestrate up --allow-commands`"
            )
        async with _folders() as (folder, streams):
            program = program_of(
                given["command"],
                folder,
                given.get("with") or {},
                named=given.get("env") or {},
                secrets=self._step.secrets,
                environment=workshop.environment,
            )
            said = await run_program(
                program, stdout=streams / "stdout", stderr=streams / "stderr", guard=workshop.guard
            )
            output = said_by(program, said, as_object=self._step.output is not None)
            self.artifacts = {name: await self._kept(folder, name, path) for name, path in _files_in(given).items()}
        return output

    async def _kept(self, folder: Path, name: str, path: str) -> dict[str, Any]:
        data, media_type = await to_thread(read_file, folder, name, path)
        job = self._attempt.job
        kept = await self._workshop.equipment.artifacts.put(place_of_job(job, Part.OUTPUTS), data, media_type)
        self._attempt.evidence.append(DIGESTS, kept.sha256)
        return {"sha256": kept.sha256, "size": kept.size, "media_type": media_type}

    async def _expired(self, spec: ApprovalSpec) -> dict[str, Any]:
        answer = await self._workshop.approvals.settled(self._attempt, spec)
        return decided(self._attempt.job.document["path"], spec.form, answer)


def _waited(given: Given) -> dict[str, Any]:
    """Of a wait whose time is over."""
    if "until" in given:
        return {"waited_until": given["until"]}
    raise AttemptTimeout(f"no event {given['event']} came in time")


def _files_in(given: Given) -> Mapping[str, str]:
    files: Mapping[str, str] = given.get("files") or {}
    return files


@asynccontextmanager
async def _folders() -> AsyncIterator[tuple[Path, Path]]:
    """Where a program works, and where what it says goes; both are gone afterwards."""
    root = Path(await to_thread(tempfile.mkdtemp, prefix="orchestrate-step-"))
    try:
        folder, streams = root / "work", root / "streams"
        folder.mkdir()
        streams.mkdir()
        yield folder, streams
    finally:
        await to_thread(shutil.rmtree, root, ignore_errors=True)
