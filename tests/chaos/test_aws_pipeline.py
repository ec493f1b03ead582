"""The whole product on SQS and S3: evaluated and executed by workers of their own, all of whom are killed meanwhile."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.jobs.broker import EVALUATION_QUEUE, TASK_QUEUE, WORKFLOW_QUEUE
from tests.chaos.aws import Aws, broken, start_aws
from tests.chaos.client import ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.execution_verdict import check_executions
from tests.chaos.verdict import Verdict
from tests.chaos.work import send, sleep, work
from tests.chaos.workflows import Executions, answer_of, does, workflow
from tests.chaos.world import SLOW_START, World
from tests.processes import until
from tests.scenarios.stack import reasons

SUBMITTER, APPROVER = "canary-submitter-1c9d", "canary-approver-77ab"
POLICY = """
version: 1
rules:
  - {name: scored, applies_to: [task], when: "!scores.available", decide: deny, reason: nobody scored it}
  - name: refused
    applies_to: [task]
    when: task.text.contains("refused")
    decide: deny
    reason: a policy says so
  - name: asked
    applies_to: [task]
    when: scores.risk >= 0.0 && task.text.contains("asked")
    decide: require_approval
    auto_approve: false
    approval: {approvers: [admin]}
"""
OFFER = workflow(
    "offer",
    {
        "write": does(sleep(0.3), send("draft", deduplicated=True), answer="draft"),
        "check": {"approval": {"message": "may it go?", "approvers": ["admin"]}, "needs": ["write"]},
        "mail": does(send("mail", deduplicated=True), answer=f"{answer_of('write')}, sent", needs=["check"]),
    },
    outputs={"said": answer_of("mail")},
)
ALLOWED, REFUSED, ASKED, OFFERS, REJECTED = 12, 3, 4, 2, 1
KEY = re.compile(r"default/\d{4}/\d\d/\d\d/(?P<id>[0-9a-f-]{36})/(?P<part>.+)/[0-9a-f]{64}")


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    started = start_aws(tmp_path)
    yield started
    started.server.process.stop()


@pytest.fixture
def world(aws: Aws, start_world: StartWorld, tmp_path: Path) -> World:
    """One worker evaluates, the other one does everything else."""
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    keys = f"{SUBMITTER}:default:member,{APPROVER}:default:admin"
    settings = {"API_KEYS": keys, "POLICY_FILE": str(tmp_path / "policy.yaml"), **aws.settings("api")}
    world = start_world(workers=0, settings=settings)
    world.start_worker(**aws.settings("worker"), WORKER_QUEUES=EVALUATION_QUEUE)
    world.start_worker(**aws.settings("worker"), WORKER_QUEUES=f"{TASK_QUEUE},{WORKFLOW_QUEUE}")
    return world


@pytest.fixture
def client(world: World) -> ChaosClient:
    return world.client(headers={"X-API-Key": SUBMITTER})


def submit(client: ChaosClient, word: str) -> str:
    return client.submit(work(sleep(0.3), send(word, deduplicated=True)))


def kill_both(world: World) -> None:
    for part in world.workers:
        part.kill()
    for part in world.revive():
        part.process.says(part.ready, patience=SLOW_START)


def decide_all(world: World, *, number: int) -> None:
    """All that waits for somebody is approved once so much does, but for one of the tasks."""
    approver = world.client(headers={"X-API-Key": APPROVER}).http

    def pending() -> list[Json]:
        found: list[Json] = approver.get("/v1/approvals", params={"status": "pending", "page_size": 100}).json()[
            "items"
        ]
        return found if len(found) == number else []

    waiting = until(pending, f"{number} approvals wait", patience=60)
    tasks = [one["approval_id"] for one in waiting if "task_id" in one["subject"]["ids"]]
    for one in waiting:
        decision = "reject" if one["approval_id"] in tasks[:REJECTED] else "approve"
        path = f"/v1/approvals/{one['approval_id']}/decisions"
        answer = approver.post(path, json={"decision": decision}, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text


@pytest.mark.chaos
def test_on_sqs_and_s3_nothing_is_lost_when_evaluators_and_executors_are_killed(
    aws: Aws, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    executions = Executions(world.client(headers={"X-API-Key": SUBMITTER}))
    allowed = [submit(client, "allowed") for _ in range(ALLOWED)]
    kill_both(world)
    refused = [submit(client, "refused") for _ in range(REFUSED)]
    asked = [submit(client, "asked") for _ in range(ASKED)]
    offers = [executions.begin(OFFER) for _ in range(OFFERS)]
    world.started(allowed[0])
    kill_both(world)
    decide_all(world, number=ASKED + OFFERS)
    kill_both(world)
    tasks = {task["task_id"]: task for task in client.all_final(patience=90)}
    ended = executions.all_final(patience=90)

    assert {tasks[one]["status"] for one in allowed} == {"completed"}
    assert {tasks[one]["error"]["type"] for one in refused} == {"POLICY_DENIED"}
    assert Counter(tasks[one]["status"] for one in asked) == {"completed": ASKED - REJECTED, "failed": REJECTED}
    assert {(one["status"], one["outputs"]["said"]) for one in ended} == {("completed", "draft, sent")}
    assert [reasons(tasks[one]) for one in allowed if reasons(tasks[one]).count("evaluated") != 1] == []
    assert sent(world, tasks) == dict.fromkeys([*allowed, *approved(asked, tasks)], 1)
    verdict.check(world, client)
    check_executions(verdict, world, executions)
    world.verify()
    evidence_is_there(aws, client, tasks, offers)


@pytest.mark.chaos
def test_what_nobody_can_read_is_put_aside_and_the_workers_go_on(aws: Aws, world: World, client: ChaosClient) -> None:
    url, sqs, executor = aws.queue(TASK_QUEUE), aws.sqs(), world.workers[1]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    executor.kill()
    executor.start()
    pid = executor.pid

    sqs.send_message(QueueUrl=url, MessageBody="no message at all")
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    until(lambda: depth(sqs, f"{url}-dlq") == 2, "both are in the dead-letter queue", patience=60)

    assert client.final(submit(client, "allowed"), patience=60)["status"] == "completed"
    assert executor.pid == pid
    assert executor.is_alive
    assert "agent_tasks" in executor.process.says("queues.unfit.*visibility timeout of 1 s")


def depth(sqs: Any, url: str) -> int:
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def approved(asked: list[str], tasks: dict[str, Json]) -> list[str]:
    return [one for one in asked if tasks[one]["status"] == "completed"]


def sent(world: World, tasks: dict[str, Json]) -> dict[str, int]:
    """How many different receivers' keys each task has sent to: one and the same key is taken once."""
    keys = {(event.task_id, event.detail) for event in world.events(*tasks, kind="sent")}
    return dict(Counter(task_id for task_id, _ in keys))


def evidence_is_there(aws: Aws, client: ChaosClient, tasks: dict[str, Json], executions: list[str]) -> None:
    """Every blob lies under the id it belongs to, is what its name says, and can be downloaded by a link."""
    blobs = aws.blobs()
    found = {key: KEY.fullmatch(key) for key in blobs}
    parts = Counter((place["id"], place["part"]) for place in found.values() if place)

    assert broken(blobs) == []
    assert [key for key, place in found.items() if place is None or place["id"] not in {*tasks, *executions}] == []
    assert all((task_id, "evaluations") in parts for task_id in tasks)
    assert all((one, "executions") in parts for one, task in tasks.items() if task["status"] == "completed")
    assert {one for one in tasks if (one, "approvals") in parts} == {
        one for one, task in tasks.items() if was_asked(task)
    }
    assert all(parts[one, "approvals"] == 1 for one in executions)
    assert all(parts[one, "executions"] >= 2 for one in executions)
    paths = [f"/v1/tasks/{one}/artifacts" for one in tasks] + [f"/v1/executions/{one}/artifacts" for one in executions]
    assert [path for path in paths if not links_work(client, path)] == []


def was_asked(task: Json) -> bool:
    return bool(task["policy"]["effect"] == "require_approval")


def links_work(client: ChaosClient, path: str) -> int:
    """How many artifacts there are, each the same by its link as from the API."""
    items = (client.get(path) or {})["items"]
    for one in items:
        link = client.http.get(f"{path}/{one['sha256']}/link").json()
        by_link = httpx.get(link["url"], trust_env=False)
        by_api = client.http.get(f"{path}/{one['sha256']}")
        assert by_link.content == by_api.content
        assert len(by_api.content) == one["size"]
    return len(items)
