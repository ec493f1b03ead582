"""What `orchestrate doctor` asks SQS: whether the queues are there, and as they should be."""

from app.cli.check import Check, fail, ok, warn
from app.jobs.queues import BrokerUnavailable, open_queues
from app.settings import Settings


def check_queues(settings: Settings) -> Check:
    """Blocks."""
    queues = open_queues(settings.broker_url, sqs_queue_url_prefix=settings.sqs_queue_url_prefix)
    try:
        states = queues.list_states()
        problems = queues.list_problems()
    except BrokerUnavailable as error:
        remedy = "see SQS_QUEUE_URL_PREFIX, the region, and infra/aws/iam/operator.json for the rights"
        return fail("broker", error.message, remedy)
    if problems:
        told = "; ".join(f"{one.queue} {one.finding}" for one in problems)
        return warn("broker", f"SQS answers, but {told}", "; ".join(dict.fromkeys(one.remedy for one in problems)))
    if missing := [state.name for state in states if state.waiting is None]:
        return warn("broker", f"SQS answers, without {', '.join(missing)}", "start an API and a worker: they make them")
    return ok("broker", f"SQS answers, with {len(states)} queues and their dead-letter queues")
