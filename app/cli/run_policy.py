"""Which policy a run on this machine is asked about by."""

from pathlib import Path

from app.settings import load_settings
from app.workflows.local.history import History


def policy_file(given: Path | None, history: History | None = None) -> Path | None:
    """What is given, else POLICY_FILE, else what the run has been governed by so far."""
    before = history.policy if history else None
    found = given or load_settings().policy_file or (Path(before["source"]) if before else None)
    return found.absolute() if found else None
