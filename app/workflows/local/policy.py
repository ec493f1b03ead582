"""The policy of a run on one's own machine: asked before the work of each step, and before each call of a tool.

What it wants people to approve waits as an approval step does. Every decision is in the journal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from app.agents.registry import Registry
from app.agents.tools.models import ToolDescription
from app.clock import Clock
from app.errors import Invalid
from app.governance.approvals.models import ApprovalRejected
from app.governance.approvals.terms import ApprovalTerms
from app.governance.policy.deciding import Decision, decide
from app.governance.policy.facts import Facts, time_facts
from app.governance.policy.models import Effect, FactKind, PolicyDenied
from app.governance.policy.policy import Policy
from app.governance.scoring.models import Scores, Work
from app.tasks.tool_calls import Call, Waiting
from app.workflows.executions.rendering import is_inline, rendered
from app.workflows.local.approving import Approving, Note
from app.workflows.local.attempts import Attempt
from app.workflows.local.checking import check_given
from app.workflows.local.evidence import TENANT
from app.workflows.local.history import History
from app.workflows.local.people import NobodyThere, Question
from app.workflows.places import cases_of, way_to
from app.workflows.plan import Plan
from app.workflows.scoring.steps import work_of_step
from app.workflows.steps.policy_facts import Whose, facts_of_step
from app.workflows.steps.retrying import is_patient
from app.workflows.view import Values

T = TypeVar("T")
DEFAULT = "default"
LONGEST_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Governing:
    """What a policy is asked with; ``me`` is whose machine this is, who may answer everything."""

    policy: Policy
    score: Callable[[Work], Scores]
    registry: Registry
    me: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """``name`` is what the answer of people is given to: the path of a step, or `PATH@TOOL:DIGEST`."""

    kind: FactKind
    path: str
    name: str
    title: str
    values: Mapping[str, Any]
    noted: Mapping[str, Any] = field(default_factory=dict)


class LocalPolicy:
    """All attempts of one process at one run."""

    def __init__(
        self, governing: Governing, plan: Plan, history: History, approving: Approving, note: Note, *, clock: Clock
    ) -> None:
        """``note`` writes to the journal, which ``history`` follows."""
        self._governing = governing
        self._plan = plan
        self._history = history
        self._approving = approving
        self._note = note
        self._clock = clock

    async def permit(self, attempt: Attempt, values: Values) -> None:
        """Before the work of a step. Raises `PolicyDenied`, `NobodyThere`, `ApprovalRejected`, `ApprovalExpired`."""
        execute = attempt.execute
        if is_patient(execute.step) or is_inline(execute.step):
            return
        given = rendered(execute, values, self._clock()).content
        whose = Whose(TENANT, self._history.execution_id, execute.workflow.name, "")
        step, path, costs = execute.step, execute.path, self._costs(attempt)
        facts = facts_of_step(whose, step.kind, step.agent or "", path, given, attempt=attempt.number, costs=costs)
        scored: dict[str, Any] = {}
        if self._governing.policy.is_scored:
            work = work_of_step(way_to(self._plan, path, cases_of(execute)), given, self._governing.registry)
            scores = await asyncio.to_thread(self._governing.score, work)
            facts, scored = {**facts, **scores.as_facts()}, {"scores": scores.as_document()}
        await self.check(_Asked(FactKind.STEP, path, path, f"step {path} begins", facts, scored))

    def calls_of(self, attempt: Attempt, agent: str) -> "LocalCalls":
        return LocalCalls(self, attempt, agent)

    async def check_call(self, attempt: Attempt, agent: str, call: Call) -> None:
        """Raises as `permit` does."""
        values = {
            **call.facts(agent=agent, used_by="step", costs=self._costs(attempt)),
            "tenant.id": TENANT,
            "caller.key_id": "",
        }
        name = f"{attempt.path}@{call.tool.name}:{call.sha256[:12]}"
        title = f"{agent} calls {call.tool.name} with {call.text[:LONGEST_SHOWN]}"
        noted = {"tool": call.tool.name, "arguments_sha256": call.sha256}
        await self.check(_Asked(FactKind.TOOL, attempt.path, name, title, values, noted))

    async def check(self, asked: _Asked) -> None:
        decision = self._decide(asked)
        if decision.effect is Effect.DENY:
            raise PolicyDenied(f"denied by the policy: {decision.told}")
        if decision.effect is Effect.REQUIRE_APPROVAL:
            await self._approved(asked, decision, decision.approval or ApprovalTerms())

    def _decide(self, asked: _Asked) -> Decision:
        facts = Facts.of(asked.kind, {**asked.values, **time_facts(self._clock())})
        decision = decide(self._governing.policy, facts)
        told = {"effect": decision.effect.value, "rule": decision.rule, "reasons": list(decision.reasons)}
        about = {"path": asked.path, "kind": asked.kind.value, "question": asked.name}
        self._note("policy.decided", **about, **told, digest=decision.policy_digest, **asked.noted)
        return decision

    async def _approved(self, asked: _Asked, decision: Decision, terms: ApprovalTerms) -> None:
        rule = decision.rule or DEFAULT
        # Another rule is another question: what was approved by few is not taken for what needs many.
        if answers := self._history.answers_to(asked.name, rule):
            _check_answered(asked, answers)
            return
        since = datetime.fromisoformat(self._history.asked[asked.name, decision.rule])
        question = Question(
            asked.name,
            ". ".join(filter(None, (terms.message, asked.title, decision.told))),
            terms.form,
            tuple(terms.approvers),
            terms.quorum,
            since + terms.expires_in if terms.expires_in else None,
        )
        self._check_given(question, terms)
        await self._approving.decided(asked.path, question, terms, rule=rule)

    def _check_given(self, question: Question, terms: ApprovalTerms) -> None:
        """Answers of nobody who may give them leave the question open. Raises `NobodyThere`."""
        if not (given := self._approving.given(question)):
            return
        try:
            check_given(question.path, given, terms, self._governing.me)
        except Invalid as error:
            told = {"message": f"{question.message}. {error.message}", "approvers": list(question.approvers)}
            raise NobodyThere(
                {"what": "approval", "answer": question.path, **told, "quorum": question.quorum}
            ) from error

    def _costs(self, attempt: Attempt) -> list[Mapping[str, Any]]:
        attempts = self._history.step(attempt.path).attempts
        return [one.cost for one in attempts if one.cost and one.number != attempt.number]


class LocalCalls:
    """The calls of one agent in one attempt. One that waits for people ends it, whatever the agent makes of it."""

    def __init__(self, policy: LocalPolicy, attempt: Attempt, agent: str) -> None:
        self._policy = policy
        self._attempt = attempt
        self._agent = agent
        self._waiting = Waiting()

    async def check(self, tool: ToolDescription, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments as they are. Raises as `LocalPolicy.permit` does."""
        self._waiting.check()
        try:
            await self._policy.check_call(self._attempt, self._agent, Call.of(tool, arguments))
        except NobodyThere as waits:
            self._waiting.note(waits)
            raise
        return arguments

    async def watch(self, work: Awaitable[T]) -> T:
        """The result of the agent's work. Raises `NobodyThere` when one of its calls waits for people."""
        return await self._waiting.watch(work)


def _check_answered(asked: _Asked, answers: Sequence[Mapping[str, Any]]) -> None:
    """By what the journal has of earlier attempts. Raises `ApprovalRejected`."""
    if rejected := next((one for one in answers if not one["approved"]), None):
        raise ApprovalRejected(f"{asked.name} was not approved by {rejected['by']}")
