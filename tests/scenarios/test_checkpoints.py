"""A worker is killed in the middle of an agent's work; the next one goes on where it was."""

from collections.abc import Iterator

import pytest

from tests.processes import until
from tests.scenarios.stack import Stack, reasons, running_stack

ARTICLE = "Write a short article about the benefits of renewable energy."


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Not the shared one: its calls are counted, and a worker that dies often is started again later each time."""
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def stack(own_stack: Stack) -> Stack:
    """With a worker that takes work, and no call counted yet."""
    assert own_stack.run("ping", agent="EchoAgent")["status"] == "completed"
    own_stack.forget_calls()
    return own_stack


@pytest.mark.long
def test_what_an_agent_finished_before_its_worker_was_killed_is_not_done_again(stack: Stack) -> None:
    task_id = stack.submit(f"{ARTICLE} [[sim latency=3 role=writer]]")
    until(lambda: stack.calls_by_role().get("search"), "the search is done")
    until(lambda: stack.calls_in_progress() > 0, "the writer is being asked")

    stack.kill("worker-1")
    task = stack.final(task_id, patience=40)

    assert task["status"] == "completed"
    assert reasons(task) == ["accepted", "claimed", "worker_lost", "claimed", "finished"]
    assert task["result"]["citations"]
    calls = stack.calls_by_role()
    assert (calls["router"], calls["planner"], calls["search"]) == (1, 1, 1)
    # What the first worker spent on the routing and the plan is not lost with it.
    assert task["cost"]["model_calls"] == 4
    assert task["agent_runs"][-1]["tools_used"] == ["web_search"]


@pytest.mark.long
def test_an_attempt_that_failed_does_not_search_again_either(stack: Stack) -> None:
    task = stack.run(f"{ARTICLE} [[sim flaky=1 role=writer]]")

    assert reasons(task) == ["accepted", "claimed", "retry_scheduled", "claimed", "finished"]
    assert stack.calls_by_role() == {"router": 1, "planner": 1, "search": 1, "writer": 2, "checker": 1}
