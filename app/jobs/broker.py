"""Celery's settings, each with the reason it is not the default, per broker.

Celery supplies processes, queues, brokers and routing. Retries, timers, results and schedules are MongoDB's.
"""

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from celery import Celery

TASK_QUEUE = "agent_tasks"
EVALUATION_QUEUE = "task_evaluations"
WORKFLOW_QUEUE = "workflow_steps"
QUEUES = (TASK_QUEUE, EVALUATION_QUEUE, WORKFLOW_QUEUE)
# The Celery tasks, each with the one argument that it takes: `task_id`, `step_id`, `execution_id`.
PROCESS_TASK = "process_task"
EVALUATE_TASK = "evaluate_task"
PROCESS_STEP = "process_step"
DRIVE_EXECUTION = "drive_execution"

Options = dict[str, Any]

COMMON: Options = {
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
    # A prefetch count lowered at a reconnect is raised again task by task: one more way to end up with too few.
    "worker_enable_prefetch_count_reduction": False,
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

REDIS: Options = {
    # Late acknowledgement on Redis stalls for ever when the broker restarts under a full worker.
    "task_acks_late": False,
    # What waits stays where another worker can take it. Only Redis has this; elsewhere Celery warns and ignores it.
    "worker_disable_prefetch": True,
    "broker_transport_options": {
        # Acknowledged early, a message is protected by nothing anyway (the sweep rings for what is lost); without
        # kombu's bookkeeping of unacknowledged ones it costs two round trips less.
        "ack_emulation": False,
        # By default a publisher waits for a frozen server without an end.
        "socket_timeout": 3,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        # A connection that died without a word is noticed within twice this and a second, not within 51 seconds.
        "health_check_interval": 5,
    },
}

SQS: Options = {
    # By name, as it imports boto3.
    "broker_transport": "app.jobs.sqs:Transport",
    # A message that waits for a free slot comes back when its worker dies; the claim makes a duplicate harmless.
    "task_acks_late": True,
    "broker_transport_options": {
        # What SQS hands to a poll nobody listens to any more stays hidden for the visibility timeout: at SIGTERM at
        # most one short poll a queue is open. Longer ones only save requests: this is 2.4 million a month and worker.
        "wait_time_seconds": 3,
        # Not 0: a worker without a free slot asks again at once, in a loop that takes a whole core.
        "polling_interval": 0.2,
        # Of queues that are created here. Short, as an early duplicate costs one refused claim.
        "visibility_timeout": 300,
        # The default is 60 seconds, four times over, in the thread that also reads messages.
        "client-config": {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}},
    },
}

RABBITMQ: Options = {
    # As on SQS; RabbitMQ gives back what a dead worker had within a second.
    "task_acks_late": True,
    # Replicated: with a classic queue the loss of its node ends all rings until the node is back.
    "task_default_queue_type": "quorum",
    "task_create_missing_queue_type": "quorum",
    # Quorum queues refuse the prefetch count that Celery sets for a whole connection.
    "worker_detect_quorum_queues": True,
    # Two missed beats are a lost connection; without it a half-open one is noticed by TCP, after hours.
    "broker_heartbeat": 10,
    "broker_transport_options": {
        # Without confirmation a message to a server that dies counts as sent.
        "confirm_publish": True,
        # A publisher waits for the confirmation without an end otherwise, also while the server is out of memory.
        "read_timeout": 3,
        "write_timeout": 3,
    },
}

# As in sqs.eu-central-1.amazonaws.com, sqs-fips.us-east-1.amazonaws.com, vpce-1.sqs.eu-west-1.vpce.amazonaws.com.
_REGION = re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.")


def celery_configuration(broker_url: str, *, sqs_queue_url_prefix: str | None = None) -> Options:
    """The whole configuration for the broker that the URL's scheme names.

    With ``sqs_queue_url_prefix`` the queues exist already, each at the prefix followed by its name, and nothing is
    listed or created.
    """
    scheme = urlsplit(broker_url).scheme
    if scheme == "sqs":
        options = {**SQS["broker_transport_options"], **_sqs_place(broker_url, sqs_queue_url_prefix)}
        return {**COMMON, **SQS, "broker_transport_options": options}
    if scheme in {"amqp", "amqps", "pyamqp"}:
        return {**COMMON, **RABBITMQ}
    return {**COMMON, **REDIS}


def create_celery(name: str, broker_url: str, *, sqs_queue_url_prefix: str | None = None) -> Celery:
    celery = Celery(name, broker=broker_url, set_as_current=False)
    celery.conf.update(celery_configuration(broker_url, sqs_queue_url_prefix=sqs_queue_url_prefix))
    return celery


def _sqs_place(broker_url: str, queue_url_prefix: str | None) -> Options:
    """Where SQS is: a host in the broker URL is an endpoint; without one it is AWS's, in the region of the queues."""
    endpoint = urlsplit(broker_url).hostname
    place: Options = {"is_secure": not (endpoint and _is_loopback(endpoint))}
    if queue_url_prefix:
        place["predefined_queues"] = {name: {"url": queue_url_prefix + name} for name in QUEUES}
        if found := _REGION.search(urlsplit(queue_url_prefix).hostname or ""):
            place["region"] = found[1]
    return place


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
