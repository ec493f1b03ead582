"""One MCP server's session, shared by the runs of a worker: opened when it is needed, and again when it broke."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from mcp import Client

from app.agents.tools.errors import ToolNotReached
from app.jobs.retry import Backoff

log = structlog.get_logger(__name__)

CONNECT_PATIENCE = 10.0
# A program gets two seconds to end by itself and two more after SIGTERM.
CLOSE_PATIENCE = 4.8
BACKOFF = Backoff(initial=timedelta(seconds=0.5), maximum=timedelta(seconds=30))


@dataclass(slots=True)
class _Session:
    """``keeper`` is the task that entered the client's context, and so the only one that may leave it."""

    ready: "asyncio.Future[Client]"
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: "asyncio.Task[None] | None" = None

    @property
    def has_ended(self) -> bool:
        return self.keeper is None or self.keeper.done()

    def give_up(self) -> None:
        """Also on a server that still has not said a word: its program would stay behind with whoever waits for it."""
        if self.keeper is not None:
            self.keeper.cancel()


class McpConnection:
    def __init__(
        self,
        server_name: str,
        create_client: Callable[[], Client],
        *,
        backoff: Backoff = BACKOFF,
        patience: float = CONNECT_PATIENCE,
    ) -> None:
        """``patience`` is how many seconds connecting may take."""
        self._server_name = server_name
        self._create_client = create_client
        self._backoff = backoff
        self._patience = patience
        self._lock = asyncio.Lock()
        self._session: _Session | None = None
        self._keepers: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0

    async def connect(self) -> Client:
        """The connected client. Raises `ToolNotReached`, at once while the last failure is too fresh."""
        async with self._lock:
            if self._session is None or self._session.has_ended:
                self._refuse_too_early()
                self._session = await self._opened()
            return self._session.ready.result()

    def note_success(self) -> None:
        self._failures = 0

    def drop(self, client: Client) -> None:
        """The session of this client is broken; the next call opens another one, after a while."""
        session = self._session
        if session is not None and session.ready.result() is client:
            self._session = None
            session.stop.set()
            self._note_failure()
            log.warning("mcp.connection_lost", server=self._server_name)

    async def close(self) -> None:
        """Leave the server, and end it when it is a program of ours."""
        if self._session is not None:
            self._session.stop.set()
            self._session = None
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=CLOSE_PATIENCE)

    def _refuse_too_early(self) -> None:
        wait = self._not_before - asyncio.get_running_loop().time()
        if wait > 0:
            raise ToolNotReached(
                f"MCP server {self._server_name!r} failed a moment ago and is left alone for a while",
                retry_after=timedelta(seconds=wait),
            )

    async def _opened(self) -> _Session:
        session = _Session(asyncio.get_running_loop().create_future())
        session.keeper = asyncio.create_task(self._keep(session), name=f"mcp-{self._server_name}")
        self._keepers.add(session.keeper)
        session.keeper.add_done_callback(self._keepers.discard)
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.shield(session.ready)
        except Exception as error:  # of the SDK, of the network or of the program; each means the same to a caller
            session.give_up()
            self._note_failure()
            kind = type(_first(error)).__name__
            log.warning("mcp.not_connected", server=self._server_name, error_type=kind)
            raise ToolNotReached(
                f"MCP server {self._server_name!r} cannot be reached ({kind})", retry_after=self._delay()
            ) from error
        except BaseException:
            session.give_up()
            raise
        log.info("mcp.connected", server=self._server_name)
        return session

    async def _keep(self, session: _Session) -> None:
        """Hold the client open in one task: its context cannot be left by another one."""
        try:
            async with self._create_client() as client:
                session.ready.set_result(client)
                await session.stop.wait()
        except Exception as error:  # noqa: BLE001 - it ends this session only, and whoever waits for it is told
            if not session.ready.done():
                session.ready.set_exception(error)
                # Nobody may be waiting any more.
                session.ready.exception()
            else:
                log.info("mcp.session_ended", server=self._server_name, error_type=type(_first(error)).__name__)

    def _note_failure(self) -> None:
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + self._delay().total_seconds()

    def _delay(self) -> timedelta:
        return self._backoff.delay(self._failures, jitter=1.0)


def _first(error: BaseException) -> BaseException:
    """What a group of exceptions is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
