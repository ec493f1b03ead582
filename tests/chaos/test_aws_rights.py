"""What the product calls of AWS is what the policy documents allow, and nothing is allowed that it never calls."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pymongo import MongoClient

from app.clock import utc_now
from app.jobs.broker import TASK_QUEUE
from tests.aws_calls import actions_of, is_allowed
from tests.chaos.aws import BUCKET, ROLES, Aws, start_aws
from tests.chaos.client import ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.work import effect, fail, work
from tests.chaos.workflows import Executions, does, workflow
from tests.chaos.world import DATABASE, World
from tests.processes import until
from tests.scenarios.stack import orchestrate

KEY = "canary-administrator-1c9d"
# Moto cannot move messages by itself; and only at its end a worker gives messages back, if some came at that moment.
UNSEEN = {"api": set(), "worker": {"sqs:ChangeMessageVisibility"}, "operator": {"sqs:ListMessageMoveTasks"}}
# More than what is kept in a document, and than one part of a streamed upload.
LARGE_VALUE, LARGE_UPLOAD = 70_000, 12 * 1024 * 1024
READER = workflow(
    "reader",
    {"read": does(effect("read"), answer="done")},
    inputs={"text": {"type": "string"}},
    outputs={"length": "${{ size(inputs.text) }}"},
)


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Aws]:
    started = start_aws(tmp_path)
    yield started
    started.server.process.stop()


@pytest.fixture
def world(aws: Aws, start_world: StartWorld) -> World:
    settings = {"API_KEYS": f"{KEY}:default:admin", "TASK_RETENTION_DAYS": "1", **aws.settings("api")}
    world = start_world(workers=0, settings=settings)
    world.start_worker(**aws.settings("worker"))
    return world


def upload(client: ChaosClient, data: bytes, sha256: str) -> int:
    headers = {"content-type": "text/plain"}
    return client.http.put(f"/v1/artifacts/{sha256}", content=data, headers=headers).status_code


def upload_and_delete(client: ChaosClient) -> None:
    data = b"a letter"
    sha256 = hashlib.sha256(data).hexdigest()
    assert upload(client, data, sha256) == 201
    assert client.http.get(f"/v1/artifacts/{sha256}").content == data
    assert upload(client, bytes(LARGE_UPLOAD), sha256="0" * 64) == 422
    assert client.http.delete(f"/v1/artifacts/{sha256}").status_code == 204


def let_retention_delete_all(world: World, aws: Aws) -> None:
    assert aws.keys()
    with MongoClient[Json](world.store.mongo_uri) as store:
        for kind in ("tasks", "executions"):
            ended = {"$set": {"completed_at": utc_now() - timedelta(days=2)}}
            store[DATABASE][kind].update_many({"status": "completed"}, ended)
    until(lambda: not aws.keys(), "retention has deleted every blob", patience=60)


def look_after_the_queues(world: World, aws: Aws) -> None:
    aws.sqs().send_message(QueueUrl=aws.queue(f"{TASK_QUEUE}-dlq"), MessageBody="what nobody could read")
    settings = {**world.settings, **aws.settings("operator")}
    for command in (("list",), ("redrive",)):
        asked = orchestrate("queues", *command, folder=world.folder, **settings)
        assert asked.returncode == 0, asked.stderr


@pytest.mark.chaos
def test_each_role_may_do_what_it_does_and_no_more(aws: Aws, world: World) -> None:
    client = world.client(headers={"X-API-Key": KEY})
    executions = Executions(world.client(headers={"X-API-Key": KEY}))

    # The worker rings for the second attempt.
    client.final(client.submit(work(fail(), only_attempts=(1,))))
    executions.begin(READER, text="x" * LARGE_VALUE)
    assert executions.all_final()[0]["outputs"] == {"length": LARGE_VALUE}
    upload_and_delete(client)
    let_retention_delete_all(world, aws)
    look_after_the_queues(world, aws)
    calls = aws.calls()

    for role in ROLES:
        policy = aws.stack.policy(f"{role.title()}Policy")
        allowed, called = set(actions_of([policy])), {call.action for call in calls[role]}
        assert [(call.action, call.resource) for call in calls[role] if not is_allowed(policy, call)] == []
        assert (role, allowed - called) == (role, UNSEEN[role])


@pytest.mark.chaos
def test_nothing_but_an_upload_is_written_where_something_may_be(aws: Aws, world: World) -> None:
    client = world.client(headers={"X-API-Key": KEY})
    client.final(client.submit(work(effect("mail"))))
    upload(client, b"a letter", hashlib.sha256(b"a letter").hexdigest())

    written = [call for role in ROLES for call in aws.calls()[role] if call.action == "s3:PutObject"]
    exempt = aws.stack.policy("ArtifactsPolicy")["Statement"][1]["NotResource"]

    assert exempt == f"arn:aws:s3:::{BUCKET}/*/uploads/*"
    assert {call.if_none_match for call in written if "/uploads/" not in call.resource} == {"*"}
    assert len([call for call in written if "/uploads/" in call.resource]) == 1
