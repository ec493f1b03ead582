"""Celery's settings: the ones that keep work safe are the same on every broker."""

import pytest

from app.jobs.broker import celery_configuration, create_celery, message_priority

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


def test_the_most_urgent_is_first_on_every_broker() -> None:
    assert message_priority(9, "redis://127.0.0.1") == 0
    assert message_priority(9, "amqp://127.0.0.1") == 9
