"""How an agent performs an effect: under a stable key, written down before and after, never twice by our doing."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from app.effects.errors import (
    EffectInterrupted,
    EffectRefused,
    EffectResultInvalid,
    EffectUncertain,
    ReceiverBusy,
)
from app.effects.ledger import EffectLedger, uncertain
from app.effects.models import Effect, Firing, Intent, arguments_digest, check_names, effect_key
from app.effects.tool import Fire, Performed
from app.errors import LeaseLost, OrchestratorError, Unavailable
from app.jobs.models import JobError

log = structlog.get_logger(__name__)

MOST_RESULT_BYTES = 16 * 1024
# What happened must not be forgotten because the store was away for a moment.
MARK_PATIENCE = 30.0
MARK_PAUSE = 0.2
# Shorter than the runner's patience with a coroutine that it stops.
LAST_WORDS = 0.5


class TaskEffects:
    """The effects of one attempt at one task."""

    def __init__(
        self,
        ledger: EffectLedger,
        *,
        tenant_id: str,
        task_id: str,
        attempt: int,
        fence: int,
        lease: str | None,
        confirm: Callable[[], Awaitable[None]],
    ) -> None:
        """``fence`` grows with every claim of the task; ``confirm`` raises `LeaseLost` when this claim is over."""
        self._ledger = ledger
        self._tenant_id = tenant_id
        self._task_id = task_id
        self._attempt = attempt
        self._fence = fence
        self._lease = lease
        self._confirm = confirm
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._marking: set[asyncio.Future[None]] = set()

    async def perform(
        self,
        name: str,
        arguments: Any,
        fire: Fire,
        *,
        receiver_deduplicates: bool = False,
        step: str | None = None,
    ) -> Performed:
        intent = self._intent(name, arguments, step, receiver_deduplicates=receiver_deduplicates)
        # Of two equal effects in one attempt the second waits for the first and then finds it done.
        async with self._locks[intent.key]:
            await self._confirm()
            begun = await self._ledger.begin(intent)
            if isinstance(begun, Effect):
                return _replayed(begun)
            log.info("effect.fired", effect=name, effect_key=intent.key, firing=begun.number)
            return await self._keep(begun, await self._fire(begun, fire))

    def _intent(self, name: str, arguments: Any, step: str | None, *, receiver_deduplicates: bool) -> Intent:
        check_names(name, step)
        digest = arguments_digest(arguments)
        discriminator = f"arguments {digest}" if step is None else f"step {step}"
        return Intent(
            key=effect_key(self._tenant_id, self._task_id, name, discriminator),
            tenant_id=self._tenant_id,
            task_id=self._task_id,
            name=name,
            step=step,
            digest=digest,
            attempt=self._attempt,
            fence=self._fence,
            lease=self._lease,
            receiver_deduplicates=receiver_deduplicates,
        )

    async def _fire(self, firing: Firing, fire: Fire) -> Any:
        try:
            return await fire(firing.intent.key)
        except LeaseLost:
            raise
        except EffectRefused as error:
            await self._note_refusal(firing, error)
            raise
        except Exception as error:
            raise _in_doubt(firing, error) from error

    async def _note_refusal(self, firing: Firing, error: EffectRefused) -> None:
        if not firing.is_doubtful:
            reported = JobError(error.code, error.message)
            await self._surely(lambda: self._ledger.mark_failed(firing, reported))
        elif not isinstance(error, ReceiverBusy):
            # That the repetition was refused says nothing about the first time.
            raise _in_doubt(firing, error) from error

    async def _keep(self, firing: Firing, result: Any) -> Performed:
        try:
            text = _as_text(result)
        except EffectResultInvalid as error:
            reported = JobError(error.code, error.message)
            await self._surely(lambda: self._ledger.mark_done(firing, result=None, error=reported))
            raise
        await self._surely(lambda: self._ledger.mark_done(firing, result=text))
        return Performed(firing.intent.key, json.loads(text), is_replay=False)

    async def _surely(self, mark: Callable[[], Awaitable[None]]) -> None:
        """Write what is known, also when the attempt is being stopped: otherwise a person would have to find it out."""
        marking = asyncio.ensure_future(_patiently(mark))
        self._marking.add(marking)
        marking.add_done_callback(self._marking.discard)
        try:
            await asyncio.shield(marking)
        except asyncio.CancelledError:
            await asyncio.wait({marking}, timeout=LAST_WORDS)
            marking.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise


async def _patiently(mark: Callable[[], Awaitable[None]]) -> None:
    give_up_at = asyncio.get_running_loop().time() + MARK_PATIENCE
    while asyncio.get_running_loop().time() < give_up_at:
        with suppress(Unavailable):
            return await mark()
        await asyncio.sleep(MARK_PAUSE)
    return await mark()


def _in_doubt(firing: Firing, error: Exception) -> EffectInterrupted | EffectUncertain:
    intent = firing.intent
    # The text of a foreign error may hold arguments, so only its kind is told.
    kind = error.message if isinstance(error, EffectInterrupted) else type(error).__name__
    log.warning("effect.in_doubt", effect=intent.name, effect_key=intent.key, error_type=kind)
    if intent.receiver_deduplicates and not isinstance(error, EffectRefused):
        message = f"nobody knows whether {intent.name!r} happened ({kind}); it is repeated under the same key"
        wait = error.retry_after if isinstance(error, OrchestratorError) else None
        return EffectInterrupted(message, retry_after=wait, key=intent.key)
    return uncertain(intent.name, intent.key, intent.task_id, attempt=intent.attempt)


def _as_text(result: Any) -> str:
    try:
        text = json.dumps(result, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise EffectResultInvalid("the effect happened, but what it returned is not plain JSON data") from error
    if len(text) > MOST_RESULT_BYTES:
        raise EffectResultInvalid(
            f"the effect happened, but its result has {len(text)} bytes as JSON; return at most {MOST_RESULT_BYTES}"
        )
    return text


def _replayed(effect: Effect) -> Performed:
    if effect.error is not None:
        raise EffectResultInvalid(effect.error.message)
    return Performed(effect.key, None if effect.result is None else json.loads(effect.result), is_replay=True)
