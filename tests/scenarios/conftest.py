from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.stack import Stack, running_stack

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all scenarios of this test process; what a scenario breaks in it, the supervisor mends."""
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """The shared stack, everything in it up again after whatever the scenario before did to it."""
    shared_stack.until_api_answers()
    return shared_stack
