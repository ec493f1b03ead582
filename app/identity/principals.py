"""On whose behalf a request acts."""

from dataclasses import dataclass

from app.settings import Role


@dataclass(frozen=True, slots=True)
class Principal:
    """The tenant comes from the credential and from nowhere else. ``key_id`` tells keys apart and may be logged."""

    tenant_id: str
    role: Role
    key_id: str
