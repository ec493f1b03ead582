"""What holds for every test: no network beyond this machine, no configuration from outside, shared stores."""

import ipaddress
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.settings import Settings
from tests.processes import VALKEY_DATABASES, Server, start_simulator, start_store, start_valkey

_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_RESOLVING = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_OUR_VARIABLES = frozenset(name.upper() for name in Settings.model_fields)
_OUR_PREFIXES = (
    "ORCHESTRATE_", "LANGCHAIN_", "LANGSMITH_", "OPENAI_", "AZURE_", "ANTHROPIC_", "TAVILY_", "AWS_",
)  # fmt: skip


class NetworkForbidden(BaseException):
    """A test tried to leave this machine. No ``except Exception`` may hide that."""


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CONNECTING:
        _check_address(arguments[1])
    elif event in _RESOLVING:
        _check_host(arguments[0])


def _check_address(address: Any) -> None:
    if isinstance(address, tuple):
        _check_host(address[0])


def _check_host(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in {"", "localhost"}:
        return
    try:
        is_local = ipaddress.ip_address(name).is_loopback or ipaddress.ip_address(name).is_unspecified
    except ValueError:
        is_local = False
    if not is_local:
        raise NetworkForbidden(f"a test may not reach {name!r}")


def pytest_configure() -> None:
    # An audit hook sees every connection of this process, whichever library makes it, and cannot be taken off again.
    sys.addaudithook(_guard)
    # Hundreds of processes are started; without bytecode each of them compiles the whole product.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in list(os.environ):
        if name.upper() in _OUR_VARIABLES or name.upper().startswith(_OUR_PREFIXES):
            del os.environ[name]


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """What a command that ran in this process said about logs is not for the next test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def processes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="session")
def store(processes_dir: Path) -> Iterator[Server]:
    """The embedded store of this test process; take a database of your own."""
    server = start_store(processes_dir)
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def valkey(processes_dir: Path) -> Iterator[Server]:
    server = start_valkey(processes_dir)
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def simulator(processes_dir: Path) -> Iterator[Server]:
    server = start_simulator(processes_dir)
    yield server
    server.process.stop()


_databases = itertools.cycle(range(1, VALKEY_DATABASES))


@pytest.fixture
def redis_url(valkey: Server) -> str:
    """A Valkey database that no other test of this process uses."""
    return valkey.redis_url(next(_databases))
