"""Attempt after attempt of a task with two model calls, through the task handler and the kernel."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START
from langgraph.runtime import Runtime

from app.agents.base import AgentOutput, AgentRequest, AgentTools
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.specs import AgentSpec
from app.agents.tools.functions import FunctionTools
from app.agents.tools.toolbox import Toolboxes
from app.artifacts.store import ArtifactStore
from app.bootstrap.handling import parse_code
from app.checkpoints.service import Checkpoints
from app.database.documents import Database, Documents
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.plugins import Evaluators
from app.jobs.models import Job, JobError, Reason, Status
from app.jobs.outcomes import Outcome, RetryAt, final_status
from app.jobs.recovery import Recovery
from app.jobs.retry import Backoff, RetryPolicy
from app.jobs.runner import JobRunner
from app.jobs.store import JobStore
from app.llm.errors import LlmTimeout
from app.llm.messages import Asked, Completion, Message, OnToken
from app.llm.search import NoSearch
from app.llm.usage import ModelRole
from app.replay.recordings import Recorder
from app.setting_evaluation import EvaluationRequest, LengthCheck
from app.tasks.execution import Equipment
from app.tasks.handler import TaskHandler
from app.tasks.models import RESET_ON_RETRY, Budget, Caller, Submission, new_task
from app.tasks.quality import QualityGate
from app.tasks.retry_policy import RetryPolicies
from tests.budget_builders import an_enforcer
from tests.checkpoint_builders import the_checkpoints
from tests.effect_builders import a_ledger
from tests.fakes.agents import USAGE
from tests.job_builders import LEASE, SECOND, TENANT, FakeClock, MakeDispatcher, a_policy
from tests.live_builders import a_publisher
from tests.policy_builders import a_policy_enforcer
from tests.session_builders import a_memory

TASK_ID = "11111111-2222-4333-8444-555555555555"
BACKOFF = Backoff(initial=SECOND, maximum=SECOND)
NEVER_GOOD = EvaluationRequest(checks=[LengthCheck(type="length", min_words=1000)], retries=1, on_failure="accept")


class EssayState(AgentState, total=False):
    outline: str
    text: str


class EssayAgent(GraphAgent[EssayState]):
    """Asks a model for an outline, then for the text."""

    state = EssayState

    def build(self, graph: Graph) -> None:
        graph.add_node("outline", self.outline)
        graph.add_node("write", self.write)
        graph.add_edge(START, "outline")
        graph.add_edge("outline", "write")
        graph.add_edge("write", END)

    async def outline(self, state: EssayState, runtime: Runtime[Work]) -> dict[str, object]:
        return {"outline": await self._ask(runtime, "outline")}

    async def write(self, state: EssayState, runtime: Runtime[Work]) -> dict[str, object]:
        return {"text": f"{state['outline']} {await self._ask(runtime, 'text')}"}

    async def _ask(self, runtime: Runtime[Work], what: str) -> str:
        answer = await runtime.context.tools.chat.complete(ModelRole.CONTENT, (Message("user", what),))
        return answer.text

    def output(self, state: EssayState) -> AgentOutput:
        return AgentOutput(summary=state["text"], raw_output=state["text"])


class PolishedEssayAgent(EssayAgent):
    """Asks a third time."""

    def build(self, graph: Graph) -> None:
        super().build(graph)
        graph.add_node("polish", self.polish)
        graph.add_edge("write", "polish")

    async def polish(self, state: EssayState, runtime: Runtime[Work]) -> dict[str, object]:
        return {"text": await self._ask(runtime, "polish")}


class HesitantEssayAgent(EssayAgent):
    """Told what was wrong, it asks a model about that before it looks at what it has."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        if request.feedback is not None:
            await tools.chat.complete(ModelRole.CONTENT, (Message("user", "what was wrong"),))
        return await super().run(request, tools)


AGENTS = [
    AgentSpec(
        name=agent.__name__,
        agent_type=agent.__name__,
        description="Writes essays.",
        examples=("an essay",),
        model_role=ModelRole.CONTENT,
        factory=f"{__name__}:{agent.__name__}",
    )
    for agent in (EssayAgent, PolishedEssayAgent, HesitantEssayAgent)
]


@dataclass
class Model:
    """Answers with the question. Told to, it fails, or keeps silent until it is let go."""

    asked: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    silent_at: str = ""
    answers_before: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def model_name(self, role: Asked) -> str:
        return "gpt-4o-mini"

    async def complete(
        self, role: Asked, messages: Any, *, max_tokens: int | None = None, on_token: OnToken | None = None
    ) -> Completion:
        what = messages[0].content
        self.asked.append(what)
        if what == self.silent_at and self.answers_before:
            self.answers_before -= 1
        elif what == self.silent_at:
            self.silent_at = ""
            self.reached.set()
            await self.let_go.wait()
        if what == "text" and self.errors:
            raise self.errors.pop(0)
        return Completion(what, self.model_name(role), USAGE)

    async def structured(self, role: Asked, messages: Any, schema: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def checkpoints(database: Database, clock: FakeClock, tmp_path: Path) -> Checkpoints:
    return the_checkpoints(database, tmp_path, clock=clock)


@dataclass
class Tasks:
    """One task and the workers that come and go."""

    jobs: JobStore
    recovery: Recovery
    documents: Documents
    checkpoints: Checkpoints
    runner: JobRunner
    clock: FakeClock

    async def submit(
        self, *, agent: str = "EssayAgent", budget: Budget | None = None, evaluation: EvaluationRequest | None = None
    ) -> None:
        caller = Caller(TENANT, "key", "request", "trace")
        submission = Submission("an essay", agent=agent, budget=budget, evaluation=evaluation)
        new = new_task(
            submission, caller, task_id=TASK_ID, session_id="s-1", policy=RetryPolicy(5, BACKOFF), deadline_at=None
        )
        await self.jobs.enqueue(new)

    async def attempt(self, worker: str = "w1") -> dict[str, Any]:
        self.clock.advance(60 * SECOND)
        await self.runner.run(TASK_ID, worker=worker)
        return await self.read()

    async def lose_worker(self) -> None:
        """What the sweep does about a worker that died or stalled."""
        self.clock.advance(LEASE)
        error = JobError("WORKER_LOST", "gone")
        await self.recovery.release(
            await self.jobs.get(TASK_ID), RetryAt(self.clock(), error, reason=Reason.WORKER_LOST)
        )

    async def read(self) -> dict[str, Any]:
        found = await self.documents.find_one({"_id": TASK_ID})
        assert found is not None
        return found


@pytest.fixture
def handler(model: Model, checkpoints: Checkpoints, database: Database, clock: FakeClock) -> TaskHandler:
    registry = Registry(AGENTS)
    effects, boxes = a_ledger(Documents(database["effects"])), Toolboxes(FunctionTools(()), None, {})
    policy = a_policy_enforcer(database, clock=clock)
    return TaskHandler(
        registry,
        PeerAgent(registry, minimum_confidence=0.5),
        chat=model,
        equipment=Equipment(NoSearch(), 5, effects, checkpoints, ArtifactStore("unused"), boxes, policy),
        memory=a_memory(database, clock=clock),
        retries=RetryPolicies(RetryPolicy(5, BACKOFF), registry),
        publisher=a_publisher(),
        quality=QualityGate(Evaluator(Evaluators(), parse_code), {}, NoSearch()),
        budgets=an_enforcer(database, clock=clock),
        clock=clock,
        recorder=Recorder(ArtifactStore("unused"), room=0, mask=str, clock=clock),
    )


@pytest.fixture
def tasks(
    handler: TaskHandler,
    checkpoints: Checkpoints,
    jobs: JobStore,
    recovery: Recovery,
    documents: Documents,
    dispatcher_of: MakeDispatcher,
    clock: FakeClock,
) -> Tasks:
    def settled(job: Job, outcome: Outcome) -> None:
        checkpoints.settled(job.id, is_final=final_status(outcome) is not None)

    runner = JobRunner(
        jobs,
        dispatcher_of(),
        handler,
        policy_of=a_policy,
        attempt_timeout=30 * SECOND,
        lease=LEASE,
        clock=clock,
        on_claimed=lambda job: None,
        on_settled=settled,
    )
    return Tasks(jobs, recovery, documents, checkpoints, runner, clock)


def tokens(task: dict[str, Any]) -> int:
    return int(task["cost"]["total_tokens"]) // USAGE.total


async def test_a_finished_call_is_not_repeated_after_a_crash_and_its_price_is_not_lost(
    tasks: Tasks, model: Model
) -> None:
    model.silent_at = "text"
    await tasks.submit()
    killed = asyncio.create_task(tasks.attempt())
    await model.reached.wait()
    await tasks.lose_worker()

    done = await tasks.attempt("w2")
    model.let_go.set()
    await killed

    assert model.asked == ["outline", "text", "text"]
    assert done["result"]["raw_output"] == "outline text"
    # The outline of the first attempt and the text of the second; what was asked in vain was never answered.
    assert tokens(done) == 2
    assert done["cost"]["model_calls"] == 2
    assert [run["token_usage"]["total"] for run in done["agent_runs"]] == [2 * USAGE.total]


@pytest.mark.parametrize(
    ("agent", "lost_at", "answers_before"),
    [("HesitantEssayAgent", "what was wrong", 0), ("EssayAgent", "outline", 1), ("EssayAgent", "text", 1)],
)
async def test_a_worker_that_is_lost_in_a_second_round_of_evaluation_leaves_each_round_to_be_paid_once(
    tasks: Tasks, model: Model, agent: str, lost_at: str, answers_before: int
) -> None:
    model.silent_at, model.answers_before = lost_at, answers_before
    await tasks.submit(agent=agent, evaluation=NEVER_GOOD)
    killed = asyncio.create_task(tasks.attempt())
    await model.reached.wait()
    await tasks.lose_worker()

    done = await tasks.attempt("w2")
    asked_in_time = len(model.asked)
    model.let_go.set()
    await killed

    assert done["status"] == Status.COMPLETED
    # What was asked in vain was never answered.
    assert tokens(done) == asked_in_time - 1


async def test_a_stalled_attempt_that_wakes_up_changes_nothing(tasks: Tasks, model: Model) -> None:
    model.silent_at = "text"
    await tasks.submit()
    stalled = asyncio.create_task(tasks.attempt())
    await model.reached.wait()
    await tasks.lose_worker()
    done = await tasks.attempt("w2")

    model.let_go.set()
    await stalled

    assert await tasks.read() == done


async def test_an_attempt_that_failed_with_an_error_resumes_as_well_and_is_paid_once(
    tasks: Tasks, model: Model
) -> None:
    model.errors = [LlmTimeout("slow"), LlmTimeout("slow")]
    await tasks.submit()

    await tasks.attempt()
    await tasks.attempt()
    done = await tasks.attempt()

    assert done["status"] == Status.COMPLETED
    assert model.asked == ["outline", "text", "text", "text"]
    assert tokens(done) == 2
    assert done["cost"]["model_calls"] == 4


async def test_a_price_that_was_carried_on_is_not_lost_by_a_second_crash_nor_counted_twice(
    tasks: Tasks, model: Model
) -> None:
    killed = []
    await tasks.submit()
    for worker, fails in (("w1", False), ("w2", True), ("w3", False)):
        model.errors = [LlmTimeout("slow")] if fails else []
        model.silent_at = "" if fails else "text"
        model.reached.clear()
        running = asyncio.create_task(tasks.attempt(worker))
        if fails:
            await running
        else:
            await model.reached.wait()
            await tasks.lose_worker()
            killed.append(running)

    done = await tasks.attempt("w4")
    model.let_go.set()
    await asyncio.gather(*killed)

    assert model.asked.count("outline") == 1
    assert tokens(done) == 2


async def test_what_a_killed_attempt_spent_is_part_of_the_budget(tasks: Tasks, model: Model) -> None:
    model.silent_at = "text"
    await tasks.submit(agent="PolishedEssayAgent", budget=Budget(tokens=2 * USAGE.total))
    killed = asyncio.create_task(tasks.attempt())
    await model.reached.wait()
    await tasks.lose_worker()

    ended = await tasks.attempt("w2")
    model.let_go.set()
    await killed

    assert ended["error"]["type"] == "BUDGET_EXCEEDED"
    assert "polish" not in model.asked


async def test_a_retry_by_hand_begins_afresh(tasks: Tasks, model: Model) -> None:
    model.errors = [LlmTimeout("slow") for _ in range(5)]
    await tasks.submit()
    for _ in range(5):
        failed = await tasks.attempt()

    await tasks.jobs.retry(TENANT, TASK_ID, reset=RESET_ON_RETRY, request="again")
    done = await tasks.attempt()

    assert failed["status"] == Status.FAILED
    assert done["status"] == Status.COMPLETED
    assert model.asked.count("outline") == 2


async def test_what_was_saved_is_deleted_when_the_task_has_ended(
    tasks: Tasks, model: Model, database: Database
) -> None:
    model.errors = [LlmTimeout("slow")]
    await tasks.submit()

    await tasks.attempt()
    await tasks.checkpoints.close()
    between = await database["checkpoints"].count_documents({})
    await tasks.attempt()
    await tasks.checkpoints.close()

    assert between == 1
    assert await database["checkpoints"].count_documents({}) == 0
