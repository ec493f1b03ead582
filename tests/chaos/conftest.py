import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import pytest

from tests.chaos.client import ChaosClient
from tests.chaos.measurements import Measurements
from tests.chaos.verdict import Verdict
from tests.chaos.world import World, running_world

HERE = Path(__file__).parent
PLACE = "CHAOS_MEASUREMENTS"
LONGEST = 300
_path = pytest.StashKey[Path]()


class StartWorld(Protocol):
    def __call__(
        self,
        *,
        workers: int = 1,
        apis: int = 1,
        simulator: bool = False,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> World: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            _mark(item)


def _mark(item: pytest.Item) -> None:
    is_long = item.get_closest_marker("chaos") is not None
    starts_processes = bool({"world", "start_world"} & set(getattr(item, "fixturenames", ())))
    if starts_processes and not is_long:
        item.add_marker(pytest.mark.slow)
    if is_long and item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="session")
def measurements(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    """All scenarios of this run write to one file: that of CHAOS_MEASUREMENTS, or a new one."""
    place = os.environ.get(PLACE)
    path = Path(place).resolve() if place else tmp_path_factory.mktemp("measurements") / "measurements.jsonl"
    request.config.stash[_path] = path
    return Measurements(path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    path = config.stash.get(_path, None)
    if path is None or not (lines := Measurements(path).table()):
        return
    terminalreporter.section("chaos: what was measured")
    for line in lines:
        terminalreporter.line(line)
    terminalreporter.line(f"in {path}")


@pytest.fixture
def verdict(measurements: Measurements, request: pytest.FixtureRequest) -> Verdict:
    return Verdict(measurements, request.node.name)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # The limit is never reached; that it is counted means that each request goes to the broker's server, too.
    with running_world(
        tmp_path_factory.mktemp("world"), workers=2, settings={"API_RATE_LIMIT_PER_MINUTE": "100000"}
    ) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """An API and two workers with short times, shared by the scenarios of this process, all of it alive and whole."""
    shared_world.mend()
    shared_world.faults.clear()
    yield shared_world
    shared_world.mend()


@pytest.fixture
def client(world: World) -> Iterator[ChaosClient]:
    """A client of the shared world that remembers this test's requests only."""
    found = world.client()
    yield found
    found.close()


@pytest.fixture
def start_world(tmp_path: Path) -> Iterator[StartWorld]:
    """Starts a world for this test alone, which may kill its store and its broker too; closed when the test ends."""
    numbers = itertools.count(1)
    with ExitStack() as worlds:

        def start(
            *,
            workers: int = 1,
            apis: int = 1,
            simulator: bool = False,
            settings: Mapping[str, str] = MappingProxyType({}),
        ) -> World:
            folder = tmp_path / f"world-{next(numbers)}"
            world = running_world(folder, workers=workers, apis=apis, simulator=simulator, settings=settings)
            return worlds.enter_context(world)

        yield start
