"""Celery's settings, each with the reason it is not the default, per broker.

Celery supplies processes, queues, brokers and routing. Retries, timers, results and schedules are MongoDB's.
"""

from typing import Any
from urllib.parse import urlsplit

from celery import Celery

TASK_QUEUE = "agent_tasks"
PROCESS_TASK = "process_task"

COMMON: dict[str, Any] = {
    # Ids only, and never pickle: a message must not be able to carry code.
    "task_serializer": "json",
    "accept_content": ["json"],
    # MongoDB holds the result; a result backend costs 1.4 times the broker's work.
    "result_backend": None,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    # The coroutines wait on one event loop; threads only carry the hand-over.
    "worker_pool": "threads",
    "worker_prefetch_multiplier": 1,
    "worker_disable_rate_limits": True,
    # Its pub/sub socket is a second way for a worker to stall or crash at a broker's restart.
    "worker_enable_remote_control": False,
    # A broker that is away, full or read-only for an hour must not end the worker.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    "broker_connection_timeout": 3,
    "broker_pool_acquire_timeout": 2,
    # The doorbell repeats by itself; Celery's own retries multiply with the client's.
    "task_publish_retry": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    # Never an exchange: a named exchange loses its binding when the broker is flushed, silently.
    "task_default_queue": TASK_QUEUE,
}

REDIS: dict[str, Any] = {
    # Late acknowledgement on Redis stalls for ever when the broker restarts under a full worker.
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "broker_transport_options": {
        # Acknowledged early, a message is protected by nothing anyway (the sweep rings for what is lost); without
        # kombu's bookkeeping of unacknowledged ones it costs two round trips less.
        "ack_emulation": False,
        "socket_timeout": 3,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 5,
    },
}

SQS: dict[str, Any] = {
    # The queue's visibility timeout redelivers; the claim makes the duplicate harmless.
    "task_acks_late": True,
    "broker_transport_options": {"wait_time_seconds": 3, "polling_interval": 0.2, "visibility_timeout": 300},
}

RABBITMQ: dict[str, Any] = {
    "task_acks_late": True,
    "task_default_queue_type": "quorum",
    "worker_detect_quorum_queues": True,
    "broker_heartbeat": 10,
    "broker_transport_options": {"confirm_publish": True},
}


def celery_configuration(broker_url: str) -> dict[str, Any]:
    """The whole configuration for the broker that the URL's scheme names."""
    scheme = urlsplit(broker_url).scheme
    if scheme == "sqs":
        return {**COMMON, **SQS}
    if scheme in {"amqp", "amqps", "pyamqp"}:
        return {**COMMON, **RABBITMQ}
    return {**COMMON, **REDIS}


def create_celery(name: str, broker_url: str) -> Celery:
    celery = Celery(name, broker=broker_url, set_as_current=False)
    celery.conf.update(celery_configuration(broker_url))
    return celery


def message_priority(priority: int, broker_url: str) -> int:
    """The broker's number for our priority 0 (whenever) to 9 (now): Redis counts the other way round."""
    return 9 - priority if urlsplit(broker_url).scheme in {"redis", "rediss"} else priority
