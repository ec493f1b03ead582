"""Every call of a tool is asked about before it is made."""

import json
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from app.agents.tools.errors import ToolArgumentsInvalid
from app.agents.tools.models import ToolDescription
from app.governance.approvals.models import ApprovalSubject, SubjectKind
from app.governance.policy.models import FactKind, PolicyDenied
from app.jobs.runner import Attempt
from app.tasks.models import POLICY
from app.tasks.policy import ApprovalNeeded, PolicyEnforcer, Question, series_of
from app.tasks.tool_calls import Call, Waiting

T = TypeVar("T")
# Of one attempt; what is refused more often adds nothing.
MOST_NOTED = 20
# As of the field of a task that says what the policy decided.
REFUSED = "refused_calls"


class ToolPolicy:
    """The calls of one agent in one attempt.

    A call that has to be approved ends the attempt, whatever the agent makes of the error; the next attempt makes the
    same call again and finds it approved. What an agent did before that is protected by its checkpoints and effects.
    """

    def __init__(self, enforcer: PolicyEnforcer, attempt: Attempt, agent_name: str) -> None:
        self._enforcer = enforcer
        self._attempt = attempt
        self._agent_name = agent_name
        self._waiting = Waiting()

    async def check(
        self, tool: ToolDescription, arguments: Mapping[str, Any], *, is_fixed: bool = False
    ) -> Mapping[str, Any]:
        """The arguments to call with, which approvers may change unless they are fixed.

        Raises what `PolicyEnforcer.check` does.
        """
        self._waiting.check()
        if not await self._enforcer.is_asked(self._attempt.job.tenant_id):
            return arguments
        try:
            passed = await self._enforcer.check(self._attempt, self._question(tool, arguments, is_fixed=is_fixed))
        except ApprovalNeeded as needed:
            self._waiting.note(needed)
            raise
        except PolicyDenied as refused:
            self._note(tool.name, refused)
            raise
        return arguments if passed.edited_input is None else _arguments(tool.name, passed.edited_input)

    async def watch(self, work: Awaitable[T]) -> T:
        """The result of the agent's work. Raises `ApprovalNeeded` when one of its calls waits for people."""
        return await self._waiting.watch(work)

    def _question(self, tool: ToolDescription, arguments: Mapping[str, Any], *, is_fixed: bool) -> Question:
        job = self._attempt.job
        document = job.document
        call = Call.of(tool, arguments)
        execution_id = document.get("execution_id")
        costs = [one["cost"] for one in document["attempts"]] if execution_id else [document["cost"] or {}]
        caller = document.get("created_by") or ""
        values = {
            **call.facts(agent=self._agent_name, used_by="step" if execution_id else "task", costs=costs),
            "tenant.id": job.tenant_id,
            "caller.key_id": caller,
        }
        subject = ApprovalSubject(
            SubjectKind.TOOL,
            f"{job.id}:{series_of(document)}:{self._agent_name}:{tool.name}:{call.sha256}",
            f"{self._agent_name} calls {tool.name}",
            _ids(job.id, document),
            input=call.text,
            input_schema={"const": json.loads(call.text)} if is_fixed else {"type": "object"},
        )
        return Question(FactKind.TOOL, job.tenant_id, values, subject, caller)

    def _note(self, tool_name: str, refused: PolicyDenied) -> None:
        note = refused.details["policy"]
        fields = self._attempt.evidence.fields
        before = fields.get(POLICY) or self._attempt.job.document.get(POLICY) or note
        noted = [*(before.get(REFUSED) or ()), {"tool": tool_name, "rule": note["rule"], "at": note["at"]}]
        fields[POLICY] = {**before, REFUSED: noted[-MOST_NOTED:]}


def _ids(job_id: str, document: Mapping[str, Any]) -> dict[str, str]:
    if "execution_id" not in document:
        return {"task_id": job_id}
    return {"execution_id": document["execution_id"], "step_id": job_id, "path": document["path"]}


def _arguments(name: str, text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise ToolArgumentsInvalid(f"{name}: the approved arguments are not JSON") from error
    if not isinstance(arguments, dict):
        raise ToolArgumentsInvalid(f"{name}: the approved arguments are no object")
    return arguments
