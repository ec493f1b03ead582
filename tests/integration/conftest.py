"""A bucket over S3's protocol, spoken by moto in a process of its own."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.processes import Server, start_moto

BUCKET = "artifacts"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.process.stop()


@pytest.fixture
def bucket(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket that the variables of AWS lead to."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3.http_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.resource("s3", endpoint_url=s3.http_url, region_name="eu-central-1")
    found = client.Bucket(BUCKET)
    found.create(CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield found
    found.objects.all().delete()
    found.delete()
