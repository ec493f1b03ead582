"""`orchestrate queues` and `orchestrate doctor` about the queues: on SQS as moto plays it, and on Valkey."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.cli.check import Check, Grade
from app.cli.queue_checks import check_queues
from app.jobs.broker import QUEUES, TASK_QUEUE, WORKFLOW_QUEUE
from app.jobs.queues import NoDeadLetterQueue, open_queues
from app.settings import load_settings
from tests.aws_template import REGION, Deployment
from tests.integration.brokers import CANARY
from tests.processes import Server, start_moto, start_valkey
from tests.scenarios.stack import orchestrate

pytestmark = pytest.mark.long

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sqs:
    """Queues as the template makes them, at a moto of their own."""

    server: Server
    prefix: str
    client: Any

    @property
    def settings(self) -> dict[str, str]:
        url = f"sqs://key:{CANARY}@127.0.0.1:{self.server.port}"
        return {"CELERY_BROKER_URL": url, "SQS_QUEUE_URL_PREFIX": self.prefix, "AWS_DEFAULT_REGION": REGION}

    def fill(self, name: str, count: int) -> None:
        """What lies in the dead-letter queue of this queue, so many messages."""
        for number in range(count):
            self.client.send_message(QueueUrl=f"{self.prefix}{name}-dlq", MessageBody=f"body {number}")

    def check(self) -> Check:
        return check_queues(load_settings(**{name.lower(): value for name, value in self.settings.items()}))


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.process.stop()


@pytest.fixture
def sqs(moto: Server, monkeypatch: pytest.MonkeyPatch) -> Sqs:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    name = f"t{uuid4().hex[:8]}"
    stack = Deployment(moto.http_url, {"Prefix": f"{name}-", "BucketName": f"{name}-artifacts"})
    return Sqs(moto, stack.deploy()["SqsQueueUrlPrefix"], stack.client("sqs"))


def run(folder: Path, settings: Mapping[str, str], *arguments: str, code: int = 0) -> str:
    asked = orchestrate("queues", *arguments, folder=folder, **settings)
    assert asked.returncode == code, asked.stdout + asked.stderr
    assert CANARY not in asked.stdout + asked.stderr
    return asked.stdout + asked.stderr


def rows(told: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.split()[0] in QUEUES}


def test_messages_go_from_the_dead_letter_queues_back_to_their_own(sqs: Sqs, tmp_path: Path) -> None:
    sqs.fill(TASK_QUEUE, 12)
    sqs.fill(WORKFLOW_QUEUE, 2)

    listed = rows(run(tmp_path, sqs.settings, "list"))
    dry = run(tmp_path, sqs.settings, "redrive", "--dry-run")
    some = json.loads(run(tmp_path, sqs.settings, "redrive", TASK_QUEUE, "--max", "11", "--json"))
    rest = run(tmp_path, sqs.settings, "redrive")

    assert listed == {
        TASK_QUEUE: ["0", "0", "12"],
        "task_evaluations": ["0", "0", "0"],
        WORKFLOW_QUEUE: ["0", "0", "2"],
    }
    assert f"{TASK_QUEUE}: 12 would be moved back" in dry
    assert [(one["queue"], one["moved"]) for one in some["items"]] == [(TASK_QUEUE, 11)]
    assert f"{TASK_QUEUE}: 1 moved back" in rest
    assert f"{WORKFLOW_QUEUE}: 2 moved back" in rest
    assert "rung again by itself" in rest
    assert states(sqs) == {TASK_QUEUE: (12, 0), "task_evaluations": (0, 0), WORKFLOW_QUEUE: (2, 0)}


def states(sqs: Sqs) -> dict[str, tuple[int | None, int | None]]:
    found = open_queues(sqs.settings["CELERY_BROKER_URL"], sqs_queue_url_prefix=sqs.prefix).list_states()
    return {one.name: (one.waiting, one.dead_letters) for one in found}


def test_what_is_moved_is_what_lay_there(sqs: Sqs) -> None:
    sqs.fill(TASK_QUEUE, 3)

    open_queues(sqs.settings["CELERY_BROKER_URL"], sqs_queue_url_prefix=sqs.prefix).redrive([TASK_QUEUE])

    received = sqs.client.receive_message(QueueUrl=f"{sqs.prefix}{TASK_QUEUE}", MaxNumberOfMessages=10)["Messages"]
    assert sorted(one["Body"] for one in received) == ["body 0", "body 1", "body 2"]


def test_nothing_is_moved_while_one_of_the_queues_has_no_dead_letter_queue(sqs: Sqs) -> None:
    queues = open_queues(sqs.settings["CELERY_BROKER_URL"], sqs_queue_url_prefix=sqs.prefix)
    sqs.fill(TASK_QUEUE, 2)
    sqs.client.set_queue_attributes(QueueUrl=f"{sqs.prefix}{WORKFLOW_QUEUE}", Attributes={"RedrivePolicy": ""})

    with pytest.raises(NoDeadLetterQueue, match="no dead-letter queue of workflow_steps"):
        queues.redrive(QUEUES)

    assert states(sqs)[TASK_QUEUE] == (0, 2)
    assert [one.moved for one in queues.redrive([TASK_QUEUE])] == [2]


def test_a_queue_that_is_not_there_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    told = run(tmp_path, {"CELERY_BROKER_URL": "redis://127.0.0.1:9/0"}, "redrive", "agent_task", code=2)

    assert "no queue 'agent_task': there are agent_tasks, task_evaluations, workflow_steps" in " ".join(told.split())


def test_on_valkey_what_waits_is_told_and_nothing_can_be_redriven(tmp_path: Path) -> None:
    server = start_valkey(tmp_path)
    settings = {"CELERY_BROKER_URL": server.redis_url()}
    try:
        listed = rows(run(tmp_path, settings, "list"))
        refused = run(tmp_path, settings, "redrive", code=2)
    finally:
        server.process.stop()

    assert listed == {name: ["0", "-", "-"] for name in QUEUES}
    assert "only SQS has dead-letter queues" in refused


def test_doctor_names_what_is_wrong_with_a_queue_and_the_fix(sqs: Sqs, caplog: pytest.LogCaptureFixture) -> None:
    well = sqs.check()
    url = f"{sqs.prefix}{TASK_QUEUE}"
    wrong = {"RedrivePolicy": "", "VisibilityTimeout": "5", "ReceiveMessageWaitTimeSeconds": "0"}
    right = sqs.client.get_queue_attributes(QueueUrl=url, AttributeNames=list(wrong))["Attributes"]
    sqs.client.set_queue_attributes(QueueUrl=url, Attributes=wrong)
    ill = sqs.check()
    sqs.client.set_queue_attributes(QueueUrl=url, Attributes=right)

    assert well == Check("broker", Grade.OK, "SQS answers, with 3 queues and their dead-letter queues")
    assert ill.grade is Grade.WARN
    assert "agent_tasks has no dead-letter queue" in ill.finding
    assert "agent_tasks has a visibility timeout of 5 s" in ill.finding
    assert ill.remedy is not None
    assert "set RedrivePolicy with maxReceiveCount 5" in ill.remedy
    assert "set VisibilityTimeout to 300" in ill.remedy
    assert "set ReceiveMessageWaitTimeSeconds to 3" in ill.remedy
    assert sqs.check() == well
