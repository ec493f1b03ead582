"""Why an effect did not happen, or is not known to have happened.

::

    ExecutionError
    ├── EffectRefused            EFFECT_REFUSED           it certainly did not happen
    │   └── ReceiverBusy         EFFECT_RECEIVER_BUSY     the same, and another try can help: retryable
    ├── EffectInterrupted        EFFECT_INTERRUPTED       not known, and repeating it is safe: retryable
    ├── EffectUncertain          EFFECT_UNCERTAIN         not known, and a person has to find out
    ├── EffectResultInvalid      EFFECT_RESULT_INVALID    it happened, and its result cannot be kept
    └── EffectsNotAllowed        EFFECTS_NOT_ALLOWED      this run has no ledger
    NotFound
    └── EffectNotFound           EFFECT_NOT_FOUND
    Conflict
    └── EffectNotUncertain       EFFECT_NOT_UNCERTAIN     there is nothing for a person to say

Messages are safe to show and to store: no arguments are in them.
"""

from app.errors import Conflict, ExecutionError, NotFound


class EffectRefused(ExecutionError):
    """Raised by whoever fires: the effect did not happen, for certain."""

    code = "EFFECT_REFUSED"
    title = "Effect refused"


class ReceiverBusy(EffectRefused):
    """The effect did not happen, for certain, and a later try may succeed."""

    code = "EFFECT_RECEIVER_BUSY"
    title = "Receiver busy"
    retryable = True


class EffectInterrupted(ExecutionError):
    """Nobody knows whether it happened; the next attempt repeats it under the same key."""

    code = "EFFECT_INTERRUPTED"
    title = "Effect interrupted"
    retryable = True


class EffectUncertain(ExecutionError):
    """Nobody knows whether it happened, and to repeat it could do it twice."""

    code = "EFFECT_UNCERTAIN"
    title = "Effect uncertain"


class EffectResultInvalid(ExecutionError):
    code = "EFFECT_RESULT_INVALID"
    title = "Effect's result invalid"


class EffectsNotAllowed(ExecutionError):
    code = "EFFECTS_NOT_ALLOWED"
    title = "Effects not allowed here"


class EffectNotFound(NotFound):
    code = "EFFECT_NOT_FOUND"
    title = "Effect not found"


class EffectNotUncertain(Conflict):
    code = "EFFECT_NOT_UNCERTAIN"
    title = "Effect not uncertain"
