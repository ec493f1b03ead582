"""At the end of a scenario: collects what is known, measures, and fails with everything that is wrong."""

from tests.chaos.checker import Bounds, Kill, Record, recovery_times, violations
from tests.chaos.client import ChaosClient
from tests.chaos.measurements import KILL_TO_RESUMED, Losses, Measurements
from tests.chaos.world import World


class Verdict:
    """Knows the name of the scenario, for the measurements."""

    def __init__(self, measurements: Measurements, scenario: str) -> None:
        self.measurements = measurements
        self.scenario = scenario

    def collect(self, world: World, *clients: ChaosClient) -> Record:
        """Everything about the tasks that these clients were told to be accepted."""
        accepted = [task_id for client in clients for task_id in client.accepted]
        return Record(
            answers=[answer for client in clients for answer in client.answers],
            snapshots=[snapshot for client in clients for snapshot in client.snapshots],
            events=world.events(*accepted) if accepted else [],
            documents=world.documents(*accepted),
            kills=[Kill(one.pid, one.at) for one in world.faults if one.kind == "kill"],
        )

    def check(
        self,
        world: World,
        *clients: ChaosClient,
        spare_executions: int | None = None,
        recovery: float | None = None,
    ) -> Record:
        """Raise `AssertionError` with every violation of A to F and K; answers the record for what else is asserted.

        Without ``spare_executions`` each fault of the world explains one more execution.
        """
        record = self.collect(world, *clients)
        spare = len(world.faults) if spare_executions is None else spare_executions
        found = violations(record, Bounds(spare_executions=spare, recovery=recovery))
        self.time(f"{KILL_TO_RESUMED} (lease {world.settings['LEASE_SEC']} s)", *recovery_times(record))
        self._count(record, found)
        assert not found, "\n".join(["promises broken:", *found])
        return record

    def time(self, name: str, *seconds: float) -> None:
        self.measurements.time(name, seconds, scenario=self.scenario)

    def figure(self, name: str, value: float, unit: str) -> None:
        self.measurements.figure(name, value, unit, scenario=self.scenario)

    def _count(self, record: Record, found: list[str]) -> None:
        for name, kind in ((Losses.DUPLICATES, "claim_refused"), (Losses.STALE, "write_refused")):
            number = sum(event.kind == kind for event in record.events)
            self.measurements.count(name, number, scenario=self.scenario)
        lost = sum(line.startswith("A ") for line in found)
        self.measurements.count(Losses.LOST, lost, scenario=self.scenario)
