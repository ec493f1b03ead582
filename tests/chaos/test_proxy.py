"""The proxy does to a connection what the scenarios rely on."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.proxy import Proxy
from tests.processes import until


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that says back what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while heard := connection.recv(1024):
                connection.sendall(heard)
        except OSError:
            return


@pytest.fixture
def proxy(echo_port: int) -> Iterator[Proxy]:
    with closing(Proxy(echo_port)) as found:
        yield found


@pytest.fixture
def connection(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as found:
        yield found


def said_back(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(1024)


def test_it_passes_on_what_it_hears_both_ways(connection: socket.socket) -> None:
    assert said_back(connection, b"hello") == b"hello"


def test_a_delay_holds_back_each_way(proxy: Proxy, connection: socket.socket) -> None:
    proxy.delay(0.2)
    began = time.monotonic()

    assert said_back(connection, b"hello") == b"hello"
    assert time.monotonic() - began >= 0.4


def test_a_frozen_connection_stays_and_goes_on_later(proxy: Proxy, connection: socket.socket) -> None:
    proxy.freeze()
    connection.sendall(b"hello")
    connection.settimeout(0.3)

    with pytest.raises(TimeoutError):
        connection.recv(1024)
    proxy.thaw()
    connection.settimeout(5)
    assert connection.recv(1024) == b"hello"


def test_a_reset_breaks_connections_and_welcomes_new_ones(proxy: Proxy, connection: socket.socket) -> None:
    said_back(connection, b"hello")

    proxy.reset()

    assert until(lambda: is_broken(connection), "the connection breaks")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as new:
        assert said_back(new, b"again") == b"again"


def test_a_refusing_proxy_breaks_new_connections_until_it_accepts(proxy: Proxy) -> None:
    proxy.refuse()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as refused:
        assert is_broken(refused)

    proxy.accept()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as welcome:
        assert said_back(welcome, b"hello") == b"hello"


def is_broken(connection: socket.socket) -> bool:
    try:
        return connection.recv(1024) == b""
    except ConnectionError:
        return True
