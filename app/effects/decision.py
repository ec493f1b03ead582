"""What an attempt may do about an effect that the ledger knows already: a pure decision."""

from enum import StrEnum

from app.effects.models import Effect, EffectStatus, Intent


class Verdict(StrEnum):
    REPLAY = "replay"
    FIRE = "fire"
    FIRE_AGAIN = "fire_again"
    UNCERTAIN = "uncertain"
    STALE = "stale"


def decide(found: Effect, intent: Intent) -> Verdict:
    """``STALE`` when a later attempt has been at it, which therefore owns the task."""
    if found.status is EffectStatus.DONE:
        return Verdict.REPLAY
    if found.fence > intent.fence:
        return Verdict.STALE
    if found.status is EffectStatus.FAILED:
        return Verdict.FIRE
    # Under one key a receiver takes one request: with other arguments it would refuse, or confirm what was never asked.
    if intent.receiver_deduplicates and found.digest == intent.digest:
        return Verdict.FIRE_AGAIN
    return Verdict.UNCERTAIN
