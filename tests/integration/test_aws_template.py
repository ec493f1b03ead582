"""`infra/aws`: what the template makes, and that the policy documents say the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.jobs.broker import PROCESS_TASK, QUEUES, TASK_QUEUE, create_celery
from app.jobs.doorbell import Doorbell
from app.jobs.queues import QueueState, open_queues
from tests.architecture.tree import ROOT
from tests.aws_calls import listed
from tests.aws_template import ACCOUNT, REGION, Deployment
from tests.processes import Server, start_moto, until

Json = dict[str, Any]
BUCKET = "example-artifacts"
PLACEHOLDERS = {"PARTITION": "aws", "REGION": REGION, "ACCOUNT": ACCOUNT, "PREFIX": "test-", "BUCKET": BUCKET}
ROLES = ("api", "worker", "operator")


def document_of(role: str) -> Json:
    text = (ROOT / f"infra/aws/iam/{role}.json").read_text("utf-8")
    for name, value in PLACEHOLDERS.items():
        text = text.replace(f"${{{name}}}", value)
    found: Json = json.loads(text)
    return found


def deployment(endpoint: str = "", **parameters: str) -> Deployment:
    return Deployment(endpoint, {"Prefix": "test-", "BucketName": BUCKET, **parameters})


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.process.stop()


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_document_says_what_the_template_says(role: str) -> None:
    assert document_of(role) == deployment().policy(f"{role.title()}Policy")


@pytest.mark.parametrize("role", ROLES)
def test_every_right_is_of_named_actions_and_only_the_blobs_of_the_bucket_are_not_named(role: str) -> None:
    for statement in document_of(role)["Statement"]:
        with_stars = [one for one in (*listed(statement["Action"]), *listed(statement["Resource"])) if "*" in one]

        assert set(with_stars) <= {f"arn:aws:s3:::{BUCKET}/*"}


@pytest.mark.long
def test_what_the_template_makes_is_what_the_product_needs(moto: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = deployment(moto.http_url, Versioning="yes")
    outputs = stack.deploy()
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    broker_url, prefix = f"sqs://key:secret@127.0.0.1:{moto.port}", outputs["SqsQueueUrlPrefix"]
    queues = open_queues(broker_url, sqs_queue_url_prefix=prefix)

    doorbell = Doorbell(create_celery("test", broker_url, sqs_queue_url_prefix=prefix), on_ring=lambda rung: None)
    doorbell.bell(task=PROCESS_TASK, queue_name=TASK_QUEUE, argument="task_id").ring("job-1")
    until(lambda: queues.list_states()[0].waiting == 1, "the ring is in the queue")
    doorbell.close()

    assert queues.list_problems() == []
    assert queues.list_states() == [
        QueueState(name, int(name == TASK_QUEUE), 0, f"test-{name}-dlq", 0) for name in QUEUES
    ]
    assert outputs["ArtifactStore"] == f"s3://{BUCKET}"
    must_be_private(stack.client("s3"))


def must_be_private(s3: Any) -> None:
    block = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    (owner,) = s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"]
    uploads, versions = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert set(block.values()) == {True}
    assert owner == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert versions["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
