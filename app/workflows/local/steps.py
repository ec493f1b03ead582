"""Carries out one step: what each kind does, and what it gives."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.clock import Clock, to_iso
from app.errors import AttemptTimeout, Invalid
from app.workflows.language.expressions import as_text
from app.workflows.language.models import ApprovalSpec, Step, WaitSpec
from app.workflows.local.agents import Agents
from app.workflows.local.approving import Approving, Note
from app.workflows.local.attempts import Attempt
from app.workflows.local.evaluating import Evaluations
from app.workflows.local.evidence import Evidence
from app.workflows.local.people import Awaited, People, Question
from app.workflows.local.policy import LocalPolicy
from app.workflows.steps.commands import Guard, program_of, run_program, said_by
from app.workflows.steps.moments import moment_of
from app.workflows.view import Values

Output = Any


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What steps reach of the machine; ``environment`` is where secrets and the PATH are found.

    ``note`` writes to the journal.
    """

    environment: Mapping[str, str]
    guard: Guard
    clock: Clock
    note: Note


class Steps:
    def __init__(
        self,
        values: Values,
        evidence: Evidence,
        agents: Agents | None,
        people: People,
        surroundings: Surroundings,
        policy: LocalPolicy | None = None,
    ) -> None:
        """Without ``agents`` no step of the plan needs one; without a ``policy`` every step may begin."""
        self._values = values
        self._evidence = evidence
        self._agents = agents
        self._people = people
        self._around = surroundings
        self._policy = policy
        self._approving = Approving(people, surroundings.note, clock=surroundings.clock)

    @property
    def _asked(self) -> Agents:
        if self._agents is None:
            raise Invalid("this run was begun without agents")
        return self._agents

    async def permit(self, attempt: Attempt) -> None:
        """Ask the policy whether the step may begin, as `LocalPolicy.permit` does."""
        if self._policy is not None:
            await self._policy.permit(attempt, self._values)

    async def run(self, attempt: Attempt) -> Output:
        """The step's output, unchecked. Raises `NobodyThere` for what only a person can do, and the step's errors."""
        step = attempt.execute.step
        given = self._render(step.with_, attempt)
        await self._keep_input(step, given, attempt)
        if step.agent is not None:
            return await self._asked.run(step.agent, given, attempt)
        if step.task is not None:
            return await self._asked.run_task(str(self._render(step.task, attempt)), given, attempt)
        if step.command is not None:
            return await self._command(step, given, attempt)
        if step.evaluate is not None:
            return await Evaluations(self._values, self._asked).run(step.evaluate, attempt)
        return await self._run_light(step, given, attempt)

    async def _run_light(self, step: Step, given: Mapping[str, Any], attempt: Attempt) -> Output:
        if step.transform is not None:
            return self._render(step.transform, attempt)
        if step.emit is not None:
            self._around.note("event.emitted", path=attempt.path, name=step.emit)
            return {"event": step.emit, "data": given}
        if step.approval is not None:
            return await self._approval(step.approval, attempt)
        if step.wait is not None:
            return await self._wait(step.wait, attempt)
        raise Invalid(f"{attempt.path}: a step of kind {step.kind} is not carried out by itself")

    def _render(self, template: Any, attempt: Attempt) -> Any:
        return self._values.render(template, attempt.execute.view)

    async def _keep_input(self, step: Step, given: Any, attempt: Attempt) -> None:
        key = self._render(step.idempotency_key, attempt)
        told = {"kind": step.kind, "attempt": attempt.number, "with": given}
        if attempt.feedback:
            told["feedback"] = attempt.feedback
        await self._evidence.put(attempt.folder / "input.json", told if key is None else {**told, "key": key})

    async def _command(self, step: Step, given: Mapping[str, Any], attempt: Attempt) -> Output:
        program = program_of(
            self._render(step.command, attempt),
            self._evidence.work,
            given,
            named=self._render(step.env, attempt),
            secrets=step.secrets,
            environment=self._around.environment,
        )
        said = await run_program(
            program,
            stdout=attempt.folder / "stdout",
            stderr=attempt.folder / "stderr",
            guard=self._around.guard,
        )
        return said_by(program, said, as_object=step.output is not None)

    async def _approval(self, spec: ApprovalSpec, attempt: Attempt) -> Output:
        question = Question(
            attempt.path,
            as_text(self._render(spec.message, attempt)),
            spec.form,
            tuple(spec.approvers),
            spec.quorum,
            attempt.began_at + spec.expires_in if spec.expires_in else None,
        )
        return await self._approving.decided(attempt.path, question, spec)

    async def _wait(self, spec: WaitSpec, attempt: Attempt) -> Output:
        if spec.event is not None:
            return await self._event(spec, spec.event, attempt)
        until = (
            attempt.began_at + spec.for_
            if spec.for_ is not None
            else moment_of(self._render(spec.until, attempt), attempt.path)
        )
        self._around.note("step.waits", path=attempt.path, **{"for": {"what": "time", "until": to_iso(until)}})
        await asyncio.sleep(max((until - self._around.clock()).total_seconds(), 0))
        return {"waited_until": to_iso(until)}

    async def _event(self, spec: WaitSpec, name: str, attempt: Attempt) -> Output:
        key = None if spec.key is None else as_text(self._render(spec.key, attempt))
        due_at = attempt.began_at + spec.timeout if spec.timeout else None
        try:
            data = await self._approving.in_time(self._people.event(Awaited(attempt.path, name, key)), due_at)
        except TimeoutError as error:
            raise AttemptTimeout(f"no event {name} came in time") from error
        return {"event": name, "key": key, "data": data}
