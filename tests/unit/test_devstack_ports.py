import socket

import pytest

from app.devstack import ports
from app.devstack.ports import PortTaken


def test_free_ports_are_different_and_outside_the_ephemeral_range() -> None:
    found = ports.free_ports(5)

    assert len(set(found)) == 5
    assert all(port in ports.EMBEDDED for port in found)
    assert all(ports.is_free(port) for port in found)


def test_port_0_picks_a_free_one() -> None:
    assert ports.is_free(ports.demand(0, "127.0.0.1"))


def test_a_free_port_is_taken_as_asked() -> None:
    [port] = ports.free_ports(1)

    assert ports.demand(port, "127.0.0.1") == port


def test_a_taken_port_names_itself_its_holder_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", ports.free_ports(1)[0])) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(PortTaken, match=rf"port {port} on 127\.0\.0\.1 .*\(pid \d+\).*--port 0"):
            ports.demand(port, "127.0.0.1")
