"""The settings of kept logs, a part of `app.settings.Settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings


class LogSettings(BaseSettings):
    # --- kept logs
    log_retention_days: float = Field(
        14.0, gt=0, le=3650, description="Entries sent to `/v1/logs` are deleted so long after they were received."
    )
    log_shipping: bool = Field(
        False,
        description="Workers keep their own log lines there too, those that belong to a tenant; stdout stays as it is.",
    )
