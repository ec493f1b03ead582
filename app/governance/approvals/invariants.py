"""What approvals promise, for `orchestrate verify`."""

from datetime import timedelta

from app.clock import Clock
from app.invariants.fields import Forbidden
from app.invariants.models import Watched


def unattended(approvals: Watched, *, clock: Clock, patience: timedelta) -> Forbidden:
    """``patience`` counts from when it was to be looked at."""
    return Forbidden(
        "approval_unattended",
        "an approval expires, escalates and tells its work soon after its time",
        approvals,
        lambda: {"look_at": {"$lte": clock() - patience}},
    )
