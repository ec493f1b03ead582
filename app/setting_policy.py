"""Settings of the policy that holds where tenants have stored none."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class PolicySettings(BaseSettings):
    # --- policy
    policy_file: Path | None = Field(
        None,
        description="Policy, as YAML or JSON, for tenants that have stored none of their own; without one everything "
        "is allowed. It is read at the start. See docs/how-to/write-policies.md.",
    )
