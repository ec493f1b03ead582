"""Our SQS transport: whatever AWS answers to a poll, the worker goes on."""

from collections.abc import Iterator
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError
from kombu.asynchronous import get_event_loop, set_event_loop
from kombu.asynchronous.hub import Hub
from structlog.testing import capture_logs

from app.jobs.sqs import Polling, Transport


@pytest.fixture
def polling() -> Iterator[Polling]:
    before, hub = get_event_loop(), Hub()
    set_event_loop(hub)
    client = boto3.client("sqs", region_name="eu-central-1", aws_access_key_id="key", aws_secret_access_key="secret")
    yield Polling(client)
    client.close()
    hub.close()
    set_event_loop(before)


@pytest.mark.parametrize("status", [400, 403, 408, 429, 500, 503, 504, 599])
def test_a_poll_that_failed_is_an_empty_one(polling: Polling, status: int) -> None:
    assert answer(polling, status) == {}


def test_a_series_of_failed_polls_is_logged_once_and_so_is_its_end(polling: Polling) -> None:
    with capture_logs() as logs:
        for status in (200, 503, 503, 599, 200, 200):
            answer(polling, status)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("sqs.poll_failed", "warning"),
        ("sqs.answers_again", "info"),
    ]


def test_a_refusal_is_tried_again_like_a_lost_connection() -> None:
    assert issubclass(ClientError, Transport.connection_errors)


def answer(polling: Polling, status: int) -> object:
    response = SimpleNamespace(status=status, headers={}, content=b"{}", status_code=status, response=None)
    response.response = response
    return polling._on_list_ready(polling, [], "ReceiveMessage", response)
