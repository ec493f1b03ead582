"""What is judged of a queue on SQS by its attributes, and a move that SQS makes by itself."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from app.jobs.queues import Redriven
from app.jobs.sqs_queues import SqsQueue, let_sqs_move, problems_of

ARN = "arn:aws:sqs:eu-central-1:123456789012:prod-agent_tasks"
POLICY = {"deadLetterTargetArn": f"{ARN}-dlq", "maxReceiveCount": 5}
WELL = {
    "QueueArn": ARN,
    "RedrivePolicy": json.dumps(POLICY),
    "VisibilityTimeout": "300",
    "ReceiveMessageWaitTimeSeconds": "3",
}


class MovingSqs:
    """SQS as far as moving goes; answers these looks at the move, the last one again and again."""

    def __init__(self, *looks: Mapping[str, Any], refuses: str | None = None) -> None:
        self._looks = list(looks)
        self._refuses = refuses
        self.started: list[dict[str, str]] = []

    def start_message_move_task(self, **given: str) -> None:
        if self._refuses:
            raise ClientError({"Error": {"Code": self._refuses, "Message": ""}}, "StartMessageMoveTask")
        self.started.append(given)

    def list_message_move_tasks(self, **_: Any) -> dict[str, Sequence[Mapping[str, Any]]]:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return {"Results": [look] if look else []}


def queue(client: object = None, **attributes: str) -> SqsQueue:
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/prod-agent_tasks"
    return SqsQueue("agent_tasks", url, client, {**WELL, **attributes})


@pytest.mark.parametrize(
    ("attributes", "finding", "remedy"),
    [
        ({"RedrivePolicy": ""}, "no dead-letter queue", "set RedrivePolicy with maxReceiveCount 5"),
        ({"RedrivePolicy": json.dumps({**POLICY, "maxReceiveCount": 1})}, "after 1 receives", "maxReceiveCount 5"),
        ({"VisibilityTimeout": "30"}, "visibility timeout of 30 s", "VisibilityTimeout to 300"),
        ({"VisibilityTimeout": "43200"}, "visibility timeout of 43200 s", "VisibilityTimeout to 300"),
        ({"ReceiveMessageWaitTimeSeconds": "0"}, "answers polls at once", "ReceiveMessageWaitTimeSeconds to 3"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(attributes: dict[str, str], finding: str, remedy: str) -> None:
    (problem,) = problems_of(queue(**attributes))

    assert problem.queue == "agent_tasks"
    assert finding in problem.finding
    assert remedy in problem.remedy


def test_nothing_is_wrong_with_a_queue_of_the_template() -> None:
    assert list(problems_of(queue())) == []


def test_a_dead_letter_queue_lies_beside_its_queue() -> None:
    assert queue().dead_letter_url == f"{queue().url}-dlq"


def test_sqs_moves_what_it_can_move_by_itself() -> None:
    sqs = MovingSqs({}, {"Status": "RUNNING"}, {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 7})

    moved = let_sqs_move(queue(sqs), pause=0)

    assert moved == Redriven("agent_tasks", 7)
    assert sqs.started == [{"SourceArn": f"{ARN}-dlq", "DestinationArn": ARN}]


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.UnsupportedOperation", "500", "AccessDenied"])
def test_where_sqs_does_not_move_it_is_left_to_be_done_by_hand(code: str) -> None:
    assert let_sqs_move(queue(MovingSqs({}, refuses=code)), pause=0) is None


def test_a_move_that_failed_is_done_again_by_hand() -> None:
    assert let_sqs_move(queue(MovingSqs({"Status": "FAILED", "FailureReason": "x"})), pause=0) is None
