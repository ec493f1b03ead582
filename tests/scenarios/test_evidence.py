"""What a running stack leaves behind: its workers' lines, to be searched, and a trail that can be proved."""

import json
from pathlib import Path

import pytest

from tests.processes import until
from tests.scenarios.stack import running_stack

FUNCTION = "Write a Python function that reverses a string about walruses."


@pytest.mark.long
def test_a_stack_keeps_its_workers_lines_and_its_trail_across_a_kill(tmp_path: Path) -> None:
    with running_stack(tmp_path, LOG_SHIPPING="true") as stack:
        task_id = stack.run(FUNCTION)["task_id"]
        query = {"task_id": task_id}
        shipped = until(
            lambda: stack.client.get("/v1/logs", params=query).json()["items"], "lines of the task are kept"
        )
        searched = stack.orchestrate("logs", "--task", task_id)
        stack.client.put("/v1/budgets/tenant/default", json={"day": {"usd": 5}}).raise_for_status()
        stack.came_back("api", stack.kill("api"))
        stack.until_api_answers()
        stack.client.put("/v1/budgets/tenant/default", json={"day": {"usd": 7}}).raise_for_status()
        anchor = stack.orchestrate("audit", "head").stdout.strip()
        verified = stack.orchestrate("audit", "verify", "--store", "--tenant", "default", "--anchor", anchor, "--json")
        puts = stack.client.get("/v1/audit", params={"kind": "budget.put"}).json()["items"]

    assert {line["by"] for line in shipped} == {"worker"}
    assert "walruses" not in json.dumps(shipped)
    assert "task.done" in searched.stdout, searched.stderr
    assert [put["detail"]["limits"]["day"]["usd"] for put in puts] == [7, 5]
    assert json.loads(verified.stdout)["ok"] is True, verified.stderr
    # The restarted API may have noted the use of the key since.
    assert json.loads(verified.stdout)["chains"][0]["entries"] >= int(anchor.partition(":")[0])
