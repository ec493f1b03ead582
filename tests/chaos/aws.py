"""SQS and S3 for a world: moto, with what the template makes, and the settings of each part."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.devstack.ports import free_ports
from tests.aws_calls import Call, read_calls
from tests.aws_template import REGION, Deployment
from tests.processes import Server, is_listening, module, start, until

BUCKET = "example-artifacts"
CALLS = "calls.jsonl"
ROLES = ("api", "worker", "operator")


@dataclass(frozen=True, slots=True)
class Aws:
    """Each role has an access key of its own, whose id is the role's name."""

    server: Server
    folder: Path
    stack: Deployment
    outputs: dict[str, str]

    def settings(self, role: str) -> dict[str, str]:
        return {
            "CELERY_BROKER_URL": f"sqs://127.0.0.1:{self.server.port}",
            "SQS_QUEUE_URL_PREFIX": self.outputs["SqsQueueUrlPrefix"],
            "ARTIFACT_STORE": self.outputs["ArtifactStore"],
            "AWS_ENDPOINT_URL": self.server.http_url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": role,
            "AWS_SECRET_ACCESS_KEY": "unused",
        }

    def calls(self) -> dict[str, list[Call]]:
        """Of the product's parts, by role."""
        found = read_calls(self.folder / CALLS)
        return {role: [call for call in found if call.who == role] for role in ROLES}

    def keys(self) -> list[str]:
        pages = self.stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def blobs(self) -> dict[str, bytes]:
        """Everything in the bucket, by key."""
        s3 = self.stack.client("s3")
        return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in self.keys()}

    def queue(self, name: str) -> str:
        return self.outputs["SqsQueueUrlPrefix"] + name

    def sqs(self) -> Any:
        return self.stack.client("sqs")


def start_aws(folder: Path) -> Aws:
    port = free_ports(1)[0]
    process = start("aws", module("tests.fakes.aws", str(port), str(folder / CALLS)), folder=folder)
    until(lambda: is_listening(port), f"moto listens on {port}; it said:\n{process.read()}")
    server = Server(process, port)
    stack = Deployment(server.http_url, {"Prefix": "test-", "BucketName": BUCKET})
    return Aws(server, folder, stack, stack.deploy())


def broken(blobs: dict[str, bytes]) -> list[str]:
    """The keys whose last part is not the digest of what is there."""
    return [key for key, data in blobs.items() if hashlib.sha256(data).hexdigest() != key.rpartition("/")[2]]
