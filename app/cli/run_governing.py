"""What a policy needs to govern a run on this machine."""

import importlib
from pathlib import Path

from app.agents.registry import build_registry
from app.cli.policy_files import read_bytes
from app.cli.run_people import me
from app.errors import Invalid
from app.governance.policy.loading import load_policy
from app.governance.policy.policy import Policy
from app.governance.scoring.models import Scores, Work
from app.settings import load_settings
from app.workflows.local.policy import Governing


def governing_of(path: Path | None) -> Governing | None:
    """Raises `Invalid` for a file that cannot be read, and `PolicyInvalid`."""
    if path is None:
        return None
    policy = load_policy(_read(path), source=str(path))
    settings = load_settings()
    registry = build_registry(settings)
    if not policy.is_scored:
        return Governing(policy, _unasked, registry, me())
    # Heavy: it loads what servers are built of.
    scoring = importlib.import_module("app.bootstrap.scoring")
    return Governing(policy, scoring.build_scorer(settings, registry).score, registry, me())


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except Invalid as error:
        raise Invalid(f"the policy of this run cannot be read ({error.message}): name it with --policy FILE") from error


def source_of(path: Path | None, policy: Policy) -> dict[str, str]:
    """As the journal says it."""
    return {"source": str(path), "digest": policy.digest}


def _unasked(_: Work) -> Scores:
    raise AssertionError("a policy without scores asks for none")
