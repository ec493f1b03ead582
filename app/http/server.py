"""The server process around the application: it tells open streams and long polls to end before it waits for them."""

from collections.abc import Callable
from socket import socket
from typing import Any

import uvicorn

DRAIN_SECONDS = 3
MAX_HEADER_BYTES = 32 * 1024


class Server(uvicorn.Server):
    """Uvicorn, with a word to whoever waits as soon as the stop begins."""

    def __init__(self, config: uvicorn.Config, *, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)


def server_config(app: Any, *, host: str, port: int) -> uvicorn.Config:
    """How we run uvicorn: our own logs, nobody's forwarded addresses believed, a bounded stop."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        # Ours decide whose X-Forwarded-For is believed; uvicorn's own list trusts every local peer.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
