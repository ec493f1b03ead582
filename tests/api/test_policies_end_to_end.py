"""Policies at work: before an agent begins with a task, before a step, and before every call of a tool."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.plugins import Plugin
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.agents.tools.models import SideEffect, ToolCall, ToolSpec
from app.errors import OrchestratorError
from app.llm.usage import ModelRole
from tests.api.hands import Hands
from tests.api.harness import Json, problem_of
from tests.api.world import World, started_world, world_settings
from tests.processes import Server

YAML = {"Content-Type": "application/yaml"}
mails: list[tuple[str, str]] = []


async def send_mail(arguments: dict[str, Any], call: ToolCall) -> Any:
    mails.append((arguments["to"], call.task_id))
    return {"sent": True}


async def read_mail(arguments: dict[str, Any], call: ToolCall) -> Any:
    return {"from": arguments["from"], "for": call.tenant_id}


class PostmanAgent(BaseAgent):
    """Calls a tool as its task says, `tool argument`; it carries on whatever becomes of the call."""

    told: ClassVar[list[str]] = []

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        name, _, whom = request.text.partition(" ")
        try:
            text = await self._acted(tools, name, whom)
        except OrchestratorError as error:
            text = f"{error.code}: {error.message}"
        self.told.append(text)
        return AgentOutput(text, text)

    async def _acted(self, tools: AgentTools, name: str, whom: str) -> str:
        async def stamp(key: str) -> None:
            mails.append((whom, key))

        match name:
            case "search":
                return str(len(await tools.search.search(whom, max_results=1)))
            case "stamp":
                return str((await tools.effects.perform("stamp", {"on": whom}, stamp)).is_replay)
            case _:
                key = "to" if name == "send_mail" else "from"
                return (await tools.toolbox.call(name, {key: whom})).text


POSTMAN = AgentSpec(
    name="PostmanAgent",
    agent_type="post",
    description="Sends mails.",
    examples=("Send a mail",),
    model_role=ModelRole.PEER,
    factory=f"{__name__}:PostmanAgent",
    routable=False,
    tools=("send_mail", "read_mail"),
)
TOOLS = tuple(
    ToolSpec(name, "Mails.", f"{__name__}:{name}", effect, input_schema={"type": "object"})
    for name, effect in (("send_mail", SideEffect.EXTERNAL), ("read_mail", SideEffect.NONE))
)
POLICY = """
version: 1
rules:
  - name: no-deletions
    applies_to: [task]
    when: task.text.contains("delete")
    decide: deny
    reason: nothing is deleted here
  - name: mails-outside
    applies_to: [task]
    when: task.text.contains("@elsewhere.example")
    decide: require_approval
    approval: {on_expiry: fail, message: who gets it?}
  - name: no-strangers
    applies_to: [tool]
    when: tool.name == "send_mail" && tool.arguments.to.endsWith("@strange.example")
    decide: deny
    reason: strangers get no mail
  - name: bosses
    applies_to: [tool]
    when: tool.name == "send_mail" && tool.arguments.to == "boss@example.com"
    decide: require_approval
  - {name: stamps, applies_to: [tool], when: 'tool.name == "stamp"', decide: require_approval}
  - name: no-gossip
    applies_to: [tool]
    when: tool.name == "web_search" && tool.arguments.query.contains("salaries")
    decide: deny
  - {name: no-secrets, applies_to: [step], when: 'step.path == "secret"', decide: deny}
  - {name: announcements, applies_to: [step], when: 'step.path == "announce"', decide: require_approval}
"""
WORKFLOW = """
version: 1
name: posting
inputs: {text: {type: string}}
steps:
  NAME: {agent: EchoAgent, with: {task: "${{ inputs.text }}"}, output: {raw_output: {type: string}}}
outputs: {said: "${{ steps.NAME.output.raw_output }}"}
"""


@pytest.fixture
async def world(store: Server, redis_url: str, simulator: Server, tmp_path: Path) -> AsyncIterator[World]:
    mails.clear()
    PostmanAgent.told.clear()
    registry = Registry(BUILT_IN, plugins=[Plugin("post 1.0", "post", (POSTMAN,), TOOLS)])
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    settings = world_settings(store, redis_url, simulator, policy_file=str(tmp_path / "policy.yaml"))
    async with started_world(settings, simulator, registry=registry) as started:
        yield started


async def decide(world: World, decision: str, **body: Any) -> Json:
    """What a person says of the one approval that waits; its title and what is proposed."""
    listed = (await world.api.get("/v1/approvals", params={"status": "pending"})).json()["items"]
    (item,) = listed
    path = f"/v1/approvals/{item['approval_id']}"
    shown = (await world.api.get(path)).json()
    answer = await world.api.client.post(
        f"{path}/decisions", json={"decision": decision, **body}, headers={"If-Match": "*"}
    )
    assert answer.status_code == 200, answer.text
    return dict(shown)


async def post(world: World, text: str) -> Json:
    return await world.run(text, agent="PostmanAgent")


async def acts(world: World) -> list[tuple[str, str]]:
    found = (await world.api.get("/v1/audit", params={"kind": "policy.decision"})).json()["items"]
    return [(one["detail"]["effect"], one["detail"]["rule"]) for one in found]


async def evidence_of(world: World, task: Json) -> list[tuple[str, str]]:
    """Its evaluations and approvals by name, and what each was about."""
    path = f"/v1/tasks/{task['task_id']}/artifacts"
    listed = [one for one in (await world.api.get(path)).json()["items"] if one["kind"] != "execution"]
    return [(one["name"], (await world.api.get(f"{path}/{one['sha256']}")).json()["kind"]) for one in listed]


async def test_a_task_that_the_policy_denies_fails_before_its_agent_begins(world: World) -> None:
    task = await post(world, "delete everything")

    assert (task["status"], task["error"]["type"]) == ("failed", "POLICY_DENIED")
    assert task["error"]["message"] == "denied by the policy: nothing is deleted here"
    assert (task["policy"]["effect"], task["policy"]["rule"]) == ("deny", "no-deletions")
    assert PostmanAgent.told == []
    assert await acts(world) == [("deny", "no-deletions")]


async def test_a_task_that_may_be_done_says_who_decided_so(world: World) -> None:
    task = await post(world, "read_mail ada@example.com")

    assert task["status"] == "completed"
    assert (task["policy"]["effect"], task["policy"]["rule"], task["policy"]["refused_calls"]) == ("allow", None, [])
    assert task["policy"]["digest"].startswith("sha256:")
    assert await acts(world) == []


async def test_a_task_waits_without_a_worker_until_it_is_approved(world: World) -> None:
    held = await post(world, "send_mail ada@elsewhere.example")

    assert (held["status"], held["hold"]["kind"]) == ("awaiting_approval", "approval")
    assert (held["policy"]["effect"], held["policy"]["rule"]) == ("require_approval", "mails-outside")
    assert held["policy"]["approval_id"] == held["hold"]["facts"]["approval_id"]
    assert mails == []
    assert world.runner.is_idle

    shown = await decide(world, "approve")
    task = await world.go_on(held["task_id"])

    assert (task["status"], [to for to, _ in mails]) == ("completed", ["ada@elsewhere.example"])
    assert (shown["subject"]["reason"], shown["message"]) == ("rule 'mails-outside' applies", "who gets it?")
    assert await acts(world) == [("require_approval", "mails-outside")]


async def test_a_task_that_is_not_approved_fails(world: World) -> None:
    held = await post(world, "send_mail ada@elsewhere.example")

    shown = await decide(world, "reject", comment="not today")
    task = await world.go_on(held["task_id"])

    assert (task["status"], task["error"]["type"], mails) == ("failed", "APPROVAL_REJECTED", [])
    names = [name for name, _ in await evidence_of(world, task)]
    assert names == ["evaluation-1.json", f"approval-{shown['approval_id']}.json"]


async def test_a_task_is_done_as_its_approver_rewrote_it(world: World) -> None:
    held = await post(world, "send_mail ada@elsewhere.example")

    await decide(world, "approve", edited_input="send_mail grace@example.com")
    task = await world.go_on(held["task_id"])

    assert (task["status"], [to for to, _ in mails]) == ("completed", ["grace@example.com"])


async def test_an_answer_to_an_earlier_series_says_nothing_about_a_retry(world: World) -> None:
    held = await post(world, "send_mail ada@elsewhere.example")
    await decide(world, "reject")
    await world.go_on(held["task_id"])

    await world.api.client.post(f"/v1/tasks/{held['task_id']}/retry")
    again = await world.go_on(held["task_id"])

    assert (again["status"], again["hold"]["kind"]) == ("awaiting_approval", "approval")
    assert again["policy"]["approval_id"] != held["policy"]["approval_id"]


async def test_a_denied_call_is_refused_the_agent_is_told_and_it_is_noted(world: World) -> None:
    task = await post(world, "send_mail eve@strange.example")

    assert (task["status"], mails) == ("completed", [])
    assert PostmanAgent.told == ["POLICY_DENIED: denied by the policy: strangers get no mail"]
    (refused,) = task["policy"]["refused_calls"]
    assert (refused["tool"], refused["rule"]) == ("send_mail", "no-strangers")
    assert (task["policy"]["effect"], task["policy"]["rule"]) == ("allow", None)
    assert await acts(world) == [("deny", "no-strangers")]
    assert await evidence_of(world, task) == [("evaluation-1.json", "task"), ("evaluation-2.json", "tool")]


async def test_a_call_waits_for_its_approval_whatever_the_agent_makes_of_it(world: World) -> None:
    held = await post(world, "send_mail boss@example.com")

    assert (held["status"], held["hold"]["kind"], held["result"], mails) == ("awaiting_approval", "approval", None, [])

    shown = await decide(world, "approve")
    task = await world.go_on(held["task_id"])

    assert (shown["subject"]["kind"], shown["input"]) == ("tool", '{"to":"boss@example.com"}')
    assert (task["status"], mails) == ("completed", [("boss@example.com", held["task_id"])])
    assert await evidence_of(world, task) == [
        ("evaluation-1.json", "task"),
        ("evaluation-2.json", "tool"),
        (f"approval-{shown['approval_id']}.json", "tool"),
    ]


async def test_a_call_is_made_as_its_approver_changed_it(world: World) -> None:
    held = await post(world, "send_mail boss@example.com")

    await decide(world, "approve", edited_input='{"to": "deputy@example.com"}')
    task = await world.go_on(held["task_id"])

    assert (task["status"], [to for to, _ in mails]) == ("completed", ["deputy@example.com"])


async def test_a_call_that_is_not_approved_is_refused_and_its_agent_told(world: World) -> None:
    held = await post(world, "send_mail boss@example.com")

    await decide(world, "reject")
    task = await world.go_on(held["task_id"])

    assert (task["status"], mails) == ("completed", [])
    assert PostmanAgent.told[-1].startswith("APPROVAL_REJECTED")


async def test_searches_of_the_web_are_asked_about_as_well(world: World) -> None:
    denied, allowed = await post(world, "search salaries"), await post(world, "search tides")

    assert [denied["status"], allowed["status"]] == ["completed", "completed"]
    assert PostmanAgent.told == ["POLICY_DENIED: denied by the policy: rule 'no-gossip' applies", "1"]


async def test_an_agents_own_effect_is_approved_as_it_is_or_not_at_all(world: World) -> None:
    held = await post(world, "stamp parcel")
    listed = (await world.api.get("/v1/approvals", params={"status": "pending"})).json()["items"]
    changed = await world.api.client.post(
        f"/v1/approvals/{listed[0]['approval_id']}/decisions",
        json={"decision": "approve", "edited_input": '{"on": "letter"}'},
        headers={"If-Match": "*"},
    )

    assert (held["status"], mails) == ("awaiting_approval", [])
    problem_of(changed, 422, "VALIDATION_ERROR")

    await decide(world, "approve")
    task = await world.go_on(held["task_id"])

    assert (task["status"], [on for on, _ in mails]) == ("completed", ["parcel"])


async def test_a_step_that_the_policy_denies_fails_its_workflow(world: World) -> None:
    hands = Hands(world.api, [world.worker])

    execution = await hands.run(WORKFLOW.replace("NAME", "secret"), {"text": "hello"})

    assert (execution.status, execution.document["fault"]["type"]) == ("failed", "POLICY_DENIED")
    step = (await hands.steps(execution.id))["secret"]
    assert (step["policy"]["effect"], step["policy"]["rule"]) == ("deny", "no-secrets")
    assert len(step["attempts"]) == 1


async def test_a_step_waits_for_its_approval_and_is_done_as_it_was_approved(world: World) -> None:
    hands = Hands(world.api, [world.worker])
    execution_id = await hands.begin(WORKFLOW.replace("NAME", "announce"), {"text": "hello"})
    await hands.worker_run(execution_id)
    await hands.rest()
    held = (await hands.steps(execution_id))["announce"]

    shown = await decide(world, "approve", edited_input='{"with": {"task": "good morning"}}')
    execution = await hands.go_on(execution_id)

    assert held["status"] == "awaiting_approval"
    assert (shown["subject"]["kind"], shown["subject"]["ids"]["path"]) == ("step", "announce")
    assert execution.status == "completed", execution.document["fault"]
    assert await hands.outputs(execution) == {"said": "good morning"}


async def test_a_tenants_own_policy_holds_instead_of_the_deployments(world: World) -> None:
    stored = await world.api.client.put("/v1/policies/current", content=b"version: 1", headers=YAML)
    assert stored.status_code == 200, stored.text

    task = await post(world, "send_mail eve@strange.example")

    assert (task["status"], [to for to, _ in mails]) == ("completed", ["eve@strange.example"])
    assert task["policy"]["digest"] == stored.json()["digest"]
