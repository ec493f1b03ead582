"""Celery's settings: the ones that keep work safe are the same on every broker."""

import sys

import pytest
from kombu.transport import SQS

from app.jobs.broker import QUEUES, TASK_QUEUE, WORKFLOW_QUEUE, celery_configuration, create_celery
from app.settings import ConfigurationError, load_settings

ACCOUNT = "https://sqs.eu-central-1.amazonaws.com/123456789012/"
BROKERS = ("redis://127.0.0.1:6379/0", "rediss://cache.example.com", "sqs://", "amqp://mq.example.com")


@pytest.mark.parametrize("url", BROKERS)
def test_nothing_but_json_is_accepted_and_nothing_is_kept_by_celery(url: str) -> None:
    settings = celery_configuration(url)

    assert settings["accept_content"] == ["json"]
    assert settings["result_backend"] is None
    assert settings["worker_enable_remote_control"] is False
    assert settings["broker_connection_max_retries"] is None
    assert settings["broker_channel_error_retry"] is True


def test_redis_acknowledges_early_and_the_others_late() -> None:
    late = {url.split(":", maxsplit=1)[0]: celery_configuration(url)["task_acks_late"] for url in BROKERS}

    assert late == {"redis": False, "rediss": False, "sqs": True, "amqp": True}


def test_every_setting_is_one_that_celery_knows() -> None:
    for url in BROKERS:
        celery = create_celery("test", url)
        for name, value in celery_configuration(url).items():
            assert getattr(celery.conf, name) == value, name


def test_sqs_is_reached_by_tls_in_the_queues_region_with_the_keys_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    celery = create_celery("test", "sqs://", sqs_queue_url_prefix=f"{ACCOUNT}prod-")

    with celery.connection_for_write() as connection:
        channel = SQS.Channel(connection.transport)

        assert channel._new_queue(TASK_QUEUE) == f"{ACCOUNT}prod-agent_tasks"
        assert channel._new_queue(WORKFLOW_QUEUE) == f"{ACCOUNT}prod-workflow_steps"
        for client in [channel.sqs(name) for name in QUEUES]:
            assert client.meta.endpoint_url == "https://sqs.eu-central-1.amazonaws.com"
            assert client._request_signer._credentials.access_key == "AKIAEXAMPLE"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-central-1.amazonaws.com", "eu-central-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("vpce-0a1b.sqs.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("127.0.0.1:4566", None),
        ("queue.example.com", None),
    ],
)
def test_the_region_is_the_one_in_the_queues_url(host: str, region: str | None) -> None:
    settings = celery_configuration("sqs://", sqs_queue_url_prefix=f"https://{host}/123456789012/")

    assert settings["broker_transport_options"].get("region") == region


@pytest.mark.parametrize(
    ("url", "is_secure"),
    [
        ("sqs://", True),
        ("sqs://key:secret@vpce-0a1b.sqs.eu-west-1.vpce.amazonaws.com", True),
        ("sqs://key:secret@127.0.0.1:4566", False),
        ("sqs://localhost:4566", False),
    ],
)
def test_only_on_this_machine_is_sqs_spoken_to_without_tls(url: str, is_secure: bool) -> None:
    assert celery_configuration(url)["broker_transport_options"]["is_secure"] is is_secure


@pytest.mark.parametrize("name", QUEUES)
def test_a_queue_on_rabbitmq_is_replicated(name: str) -> None:
    celery = create_celery("test", "amqp://mq.example.com")

    assert celery.amqp.queues[name].queue_arguments == {"x-queue-type": "quorum"}


def test_settings_for_sqs_without_sqs_are_refused_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="CELERY_BROKER_URL=sqs://"):
        load_settings(_env_file=None, sqs_queue_url_prefix=ACCOUNT)
    with pytest.raises(ConfigurationError, match="SQS_QUEUE_URL_PREFIX: write a URL"):
        load_settings(_env_file=None, celery_broker_url="sqs://", sqs_queue_url_prefix="prod-")


def test_sqs_without_its_libraries_is_refused_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pycurl", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'agent-orchestrator\[sqs\]'"):
        load_settings(_env_file=None, celery_broker_url="sqs://")


def test_a_worker_serves_all_queues_unless_it_is_told_which() -> None:
    assert load_settings(_env_file=None).worker_queues == QUEUES
    assert load_settings(_env_file=None, worker_queues="task_evaluations, workflow_steps").worker_queues == (
        "task_evaluations",
        "workflow_steps",
    )


@pytest.mark.parametrize("queues", ["", "agent_task"])
def test_a_queue_that_there_is_not_is_refused_by_name(queues: str) -> None:
    with pytest.raises(ConfigurationError, match="WORKER_QUEUES"):
        load_settings(_env_file=None, worker_queues=queues)
