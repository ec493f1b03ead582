"""What `orchestrate doctor` finds out about the policy of the deployment."""

import asyncio

from app.cli.check import Check, fail, ok
from app.governance.policy.configured import configured_policy
from app.settings import ConfigurationError, Settings


async def check_policy(settings: Settings) -> Check:
    # Compiling hundreds of rules takes a second.
    return await asyncio.to_thread(_examined, settings)


def _examined(settings: Settings) -> Check:
    try:
        policy = configured_policy(settings)
    except ConfigurationError as error:
        return fail("policy", error.message, "see `orchestrate policy validate FILE`; API and workers do not start")
    if policy is None:
        return ok("policy", "no POLICY_FILE; everything is allowed where tenants have stored no policy")
    return ok("policy", f"{len(policy.document.rules)} rules in {settings.policy_file}")
