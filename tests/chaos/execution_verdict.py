"""At the end of a scenario about executions: collects what is known of them, and fails with all that is wrong."""

from app.workflows.executions.models import EXECUTIONS, STEPS
from tests.chaos.checker import Kill, Record, recovery_times
from tests.chaos.execution_checker import ExecutionRecord, Json, execution_violations, whole
from tests.chaos.measurements import KILL_TO_RESUMED
from tests.chaos.verdict import Verdict
from tests.chaos.workflows import Executions
from tests.chaos.world import World


def steps_of(world: World, execution_id: str) -> dict[str, Json]:
    """Of the newest series that has them, by path."""
    found = world.documents_of(STEPS, {"execution_id": execution_id}).values()
    return {one["path"]: whole(one) for one in sorted(found, key=lambda one: int(one["series"]))}


def collect(world: World, executions: Executions) -> ExecutionRecord:
    """Everything about what this client was told to be accepted."""
    accepted = executions.accepted
    documents = world.documents_of(EXECUTIONS, {"_id": {"$in": accepted}})
    steps = world.documents_of(STEPS, {"execution_id": {"$in": accepted}})
    found = {step_id: whole(step) for step_id, step in steps.items()}
    jobs = Record(
        answers=[one for one in executions.client.answers if one.is_acceptance and one.work_id in set(accepted)],
        events=world.events(*accepted, *found),
        documents={**documents, **found},
        kills=[Kill(one.pid, one.at) for one in world.faults if one.kind == "kill"],
    )
    return ExecutionRecord(jobs, documents, found)


def check_executions(
    verdict: Verdict,
    world: World,
    executions: Executions,
    *,
    spare: int | None = None,
    recovery: float | None = None,
) -> ExecutionRecord:
    """Raise `AssertionError` with every promise broken; answers the record for what else is asserted."""
    record = collect(world, executions)
    found = execution_violations(record, spare=len(world.faults) if spare is None else spare, recovery=recovery)
    verdict.time(f"{KILL_TO_RESUMED} (executions, lease {world.settings['LEASE_SEC']} s)", *recovery_times(record.jobs))
    assert not found, "\n".join(["promises broken:", *found])
    return record
