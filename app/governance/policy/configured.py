"""The policy of the deployment, for tenants that have stored none."""

from app.governance.policy.loading import LIMITS, PolicyInvalid, load_policy
from app.governance.policy.policy import Policy
from app.settings import ConfigurationError, Settings


def configured_policy(settings: Settings) -> Policy | None:
    """What POLICY_FILE holds. Raises `ConfigurationError` for a file that cannot be used."""
    path = settings.policy_file
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return load_policy(file.read(LIMITS.size + 1), source=str(path))
    except OSError as error:
        raise ConfigurationError(f"POLICY_FILE: {path} cannot be read ({error.strerror}); name a file") from error
    except PolicyInvalid as error:
        raise ConfigurationError(f"POLICY_FILE: correct the policy:\n{error.message}") from error
