"""Effects as an agent sees them. Light on purpose: the API process imports this."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from app.effects.errors import EffectsNotAllowed

Fire = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Performed:
    """``result`` is what `fire` returned, as JSON data; None when a person said that the effect had happened.

    ``is_replay`` says that it happened before and was not fired now.
    """

    key: str
    result: Any
    is_replay: bool


class Effects(Protocol):
    async def perform(
        self,
        name: str,
        arguments: Any,
        fire: Fire,
        *,
        receiver_deduplicates: bool = False,
        step: str | None = None,
    ) -> Performed:
        """Have ``fire(key)`` called unless the effect has happened already, in whatever attempt of this task.

        The key follows from the task, ``name`` and the ``arguments`` (plain JSON data, never stored), or from ``step``
        instead of them: for arguments that differ from attempt to attempt, and for an effect that is meant twice.
        ``fire`` hands the key to the receiver (`Idempotency-Key`) and returns a little JSON. It raises `EffectRefused`
        or `ReceiverBusy` only when the effect certainly did not happen; after anything else nobody knows. Then a
        receiver that deduplicates by the key gets it again (`EffectInterrupted`, `retryable`), and for any other one
        a person has to say what happened (`EffectUncertain`).
        """


class NoEffects:
    """For runs that may not act on the world outside."""

    async def perform(self, name: str, *_: Any, **__: Any) -> Performed:
        raise EffectsNotAllowed(f"this run may not perform {name!r}: it has no ledger of effects")
