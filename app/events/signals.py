"""Wake-ups: tells whoever waits for a job that something changed, at once and without polling.

Redis carries them and may lose them. Waiters therefore look again by themselves after a while, and correctness never
depends on a wake-up.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.cancellation import stop

log = structlog.get_logger(__name__)

CHANNEL = "orchestrator:changed"
LIVE_CHANNEL = "orchestrator:live"
# How long a waiter trusts that a wake-up would have come.
TRUST_CONNECTED = timedelta(seconds=2)
TRUST_DISCONNECTED = timedelta(milliseconds=250)
GATHERING_PAUSE = 0.004
# What people who follow a job do not notice, and many of its changes fit into.
SOON = timedelta(milliseconds=50)
FEW = 2
RECONNECT_PAUSE = timedelta(seconds=1)
STOP_PATIENCE = timedelta(seconds=1)


class Waiter:
    """One party that waits for changes of one job, and for its live events when it ``hears_live``."""

    def __init__(self, signals: "Signals", *, hears_live: bool) -> None:
        self.hears_live = hears_live
        self._signals = signals
        self._woken = asyncio.Event()
        self._must_look = False

    @property
    def must_end(self) -> bool:
        """The process is about to stop: whoever waits answers with what it has."""
        return self._signals.is_stopping

    def wake(self) -> None:
        self._must_look = True
        self._woken.set()

    def wake_live(self) -> None:
        self._woken.set()

    async def wait(self, at_most: timedelta) -> bool:
        """Return when the job changed, when it is time to look again, or after ``at_most``.

        False when there are live events, and nothing says that the job changed.
        """
        if self.must_end:
            return True
        limit = min(at_most, self._signals.trust)
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await self._woken.wait()
        except TimeoutError:
            self._must_look = True
        self._woken.clear()
        must_look, self._must_look = self._must_look, False
        return must_look


class Signals:
    """Publishes and receives wake-ups; without Redis it reaches only this process, and waiters look more often."""

    def __init__(self, redis: "Redis | None") -> None:
        self._redis = redis
        self._waiters: dict[str, set[Waiter]] = {}
        self._unsent: set[str] = set()
        self._soon: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._connected = False
        self.is_stopping = False

    def stop_waiting(self) -> None:
        """Wake everybody for the last time."""
        self.is_stopping = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    @property
    def trust(self) -> timedelta:
        return TRUST_CONNECTED if self._connected else TRUST_DISCONNECTED

    def start_listening(self) -> None:
        """Begin to receive what other processes publish."""
        if self._redis is not None:
            self._listener = asyncio.create_task(self._listen_for_ever(self._redis), name="signals")

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._listener, self._sender):
            if task is not None:
                await stop(task, patience=STOP_PATIENCE)
        if self._redis is not None:
            await self._redis.aclose()

    @contextlib.contextmanager
    def waiting_for(self, job_id: str, *, hears_live: bool = False) -> Iterator[Waiter]:
        waiter = Waiter(self, hears_live=hears_live)
        self._waiters.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            others = self._waiters[job_id]
            others.discard(waiter)
            if not others:
                del self._waiters[job_id]

    def notify(self, job_id: str) -> None:
        """Say that the job changed. Returns at once; must be called on the event loop."""
        self._wake(job_id)
        if self._redis is None:
            return
        self._unsent.add(job_id)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(self._redis), name="signals-send")

    def notify_soon(self, job_id: str) -> None:
        """Say within `SOON` that the job changed, once for all that happens to it until then."""
        if not self._soon:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SOON.total_seconds(), self._notify_gathered)
        self._soon.add(job_id)

    def _notify_gathered(self) -> None:
        gathered, self._soon = self._soon, set()
        for job_id in gathered:
            self.notify(job_id)

    async def _send(self, redis: "Redis") -> None:
        # What gathers while one message is on its way goes out together in the next.
        while self._unsent:
            batch, self._unsent = self._unsent, set()
            try:
                await redis.publish(CHANNEL, "\n".join(batch))
            except (RedisError, OSError) as error:
                log.debug("signals.not_sent", error=type(error).__name__)
            if len(batch) > FEW:
                # Under load a message carries many wake-ups; when there is little to do each goes out at once.
                await asyncio.sleep(GATHERING_PAUSE)

    async def _listen_for_ever(self, redis: "Redis") -> None:
        while True:
            try:
                await self._listen(redis)
            except (RedisError, OSError) as error:
                log.warning("signals.disconnected", error=type(error).__name__)
            except Exception:  # a background loop: listening must go on, whatever came in
                log.exception("signals.crashed")
            self._connected = False
            await asyncio.sleep(RECONNECT_PAUSE.total_seconds())

    async def _listen(self, redis: "Redis") -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(CHANNEL, LIVE_CHANNEL)
            self._connected = True
            while True:
                # A bounded wait, so that a half-open connection is noticed by the client's health check.
                message = await channel.get_message(timeout=5.0)
                if message is not None:
                    wake = self._wake_live if message["channel"] == LIVE_CHANNEL.encode() else self._wake
                    for job_id in message["data"].decode(errors="replace").split("\n"):
                        wake(job_id)

    def _wake(self, job_id: str) -> None:
        for waiter in self._waiters.get(job_id, ()):
            waiter.wake()

    def _wake_live(self, job_id: str) -> None:
        for waiter in self._waiters.get(job_id, ()):
            if waiter.hears_live:
                waiter.wake_live()


def connect_redis(url: str) -> "Redis":
    """A client that gives up quickly: what goes through it may be lost, but must not hold anybody up."""
    return Redis.from_url(url, socket_timeout=10.0, socket_connect_timeout=1.0, health_check_interval=5)
