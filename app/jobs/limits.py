"""How many jobs of one tenant and of one agent may run at the same time, as permits to be held: pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.jobs.lanes import EVERYBODY

TENANT = "tenant"
AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Limit:
    """``most`` holders of the permit named ``permit``, over all workers."""

    permit: str
    most: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits by name; `EVERYBODY` names the default, and what has none is unlimited."""

    tenants: Mapping[str, int] = field(default_factory=dict)
    agents: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tenants or self.agents)

    def of_tenant(self, tenant_id: str) -> Limit | None:
        return _limit(TENANT, tenant_id, self.tenants)

    def of_agent(self, name: str | None) -> Limit | None:
        """None as well for a job whose agent is not known yet."""
        return None if name is None else _limit(AGENT, name, self.agents)

    def of_permit(self, permit: str) -> Limit | None:
        """The limit behind a permit's name; None when the configuration knows none any more."""
        kind, _, name = permit.partition(":")
        return _limit(kind, name, self.tenants if kind == TENANT else self.agents)


def _limit(kind: str, name: str, limits: Mapping[str, int]) -> Limit | None:
    most = limits.get(name, limits.get(EVERYBODY))
    return None if most is None else Limit(f"{kind}:{name}", most)
