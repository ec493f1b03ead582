"""TCP ports for the embedded parts and the API."""

import contextlib
import secrets
import socket

import psutil

from app.errors import OrchestratorError

# Below the ephemeral ranges of Linux (32768-60999) and macOS (49152-65535): while a part restarts, no outgoing
# connection - not even a client that connects to itself - can take its port.
EMBEDDED = range(20_000, 30_000)
_TRIES = 1000


class PortTaken(OrchestratorError):
    code = "PORT_TAKEN"
    status = 409
    title = "Port in use"


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that lingers in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """That many different free ports on loopback, outside the range clients take theirs from."""
    found: dict[int, None] = {}
    for _ in range(_TRIES):
        if len(found) == count:
            return list(found)
        port = secrets.choice(EMBEDDED)
        if is_free(port):
            found[port] = None
    raise PortTaken(f"no free port between {EMBEDDED.start} and {EMBEDDED.stop - 1}: stop something that listens there")


def demand(port: int, host: str) -> int:
    """The port itself, or a free one for 0; raises `PortTaken` naming the holder and the way out."""
    if port == 0:
        return free_ports(1)[0]
    if not is_free(port, host):
        raise PortTaken(
            f"port {port} on {host} is already in use{_holder(port)}: stop that, or choose another with "
            "--port (--port 0 picks a free one)",
            port=port,
        )
    return port


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
