"""`orchestrate budgets` and `orchestrate usage` against the real API behind a socket."""

import re
from collections.abc import AsyncIterator

import pytest

from app.governance.budgets.models import Limit, Period, Scope, Shortage, Unit
from app.jobs.outcomes import Finished
from app.jobs.transitions import Evidence
from app.metrics.usage import NOTE
from app.settings import load_settings
from app.tasks.budget import held_by_budget
from app.tasks.schemas import EXAMPLE_ID
from tests.api.harness import Api, api_settings, stores_of, upkeep_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import Block, blocks_of
from tests.processes import Server

ASSIGNMENT = re.compile(r"(?m)^([A-Z_]+)='(.*)'$")


def guide() -> list[Block]:
    return [block for block in blocks_of("bash") if block.page.name == "set-budgets.md"]


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


async def test_budgets_are_set_listed_and_removed(terminal: Terminal) -> None:
    said = await terminal.prints("budgets", "set", "tenant", "default", "--day", "usd=0.5", "--day", "tokens=1000")
    await terminal.prints("budgets", "set", "agent", "*", "--month", "model_calls=9")
    await terminal.prints("budgets", "set", "session", "*", "--total", "tokens=50")
    rows = [row.split() for row in (await terminal.prints("budgets", "list")).splitlines()]
    removed = await terminal.prints("budgets", "remove", "agent", "*")
    left = await terminal.json("budgets", "list")

    assert said.splitlines()[1].split() == ["tenant", "default", "day", "usd", "0.5", "0", "0", "0.5"]
    assert rows[0] == ["scope", "name", "period", "unit", "limit", "spent", "reserved", "remaining"]
    assert rows[2:] == [
        ["tenant", "default", "day", "tokens", "1000", "0", "0", "1000"],
        ["agent", "*", "month", "model_calls", "9", "each", "each", "each"],
        ["session", "*", "total", "tokens", "50", "each", "each", "each"],
    ]
    assert removed == "the budget of agent * is removed\n"
    assert [(item["scope"], item["name"]) for item in left["items"]] == [("tenant", "default"), ("session", "*")]


@pytest.mark.parametrize("limit", ["usd", "usd=", "usd=much", "=1", "usd=inf", "usd=-1", "usd=1e3"])
async def test_what_is_no_limit_is_refused_with_an_example(terminal: Terminal, limit: str) -> None:
    error = await terminal.fails("budgets", "set", "tenant", "default", "--day", limit)

    assert error.message == f"{limit!r} is no limit: write it as usd=0.5 or tokens=5000"


async def test_a_paused_task_is_raised(api: Api, terminal: Terminal) -> None:
    task_id = await api.submit(budget={"usd": 0.01, "on_exceeded": "ask"})
    limit = Limit(Scope.REQUEST, "", Period.TOTAL, Unit.USD, 10**7, "raise it")
    held = held_by_budget(Shortage(limit, 10**7), since=api.core.clock())
    await api.hand().settle(await api.hand().claim(task_id), held)

    error = await terminal.fails("budgets", "raise", task_id, "usd=0.001")
    raised = await terminal.json("budgets", "raise", task_id, "usd=0.5")

    assert "can only be raised" in error.message
    assert (raised["status"], raised["budget"]["usd"], raised["hold"]) == ("queued", 0.5, None)


async def test_without_any_budget_the_list_says_how_to_set_one(terminal: Terminal) -> None:
    result = await terminal.run("budgets", "list")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "orchestrate budgets set tenant default --day usd=10" in result.stderr


async def test_usage_is_shown_with_its_total(api: Api, terminal: Terminal) -> None:
    task_id, hand = await api.submit(), api.hand()
    note = {"agent": "CodeAgent", "tokens": 120, "model_calls": 2, "nano_usd": 1_500_000}
    await hand.settle(await hand.claim(task_id), Finished({}), Evidence(noted={NOTE: note}))
    async with upkeep_of(api.settings) as upkeep:
        await upkeep.run_once()

    rows = [row.split() for row in (await terminal.prints("usage")).splitlines()]
    by_tenant = await terminal.json("usage", "--by", "tenant", "--to", api.core.clock().date().isoformat())

    assert rows == [
        ["agent", "tokens", "calls", "usd"],
        ["CodeAgent", "120", "2", "0.001500"],
        ["total", "120", "2", "0.001500"],
    ]
    assert by_tenant["items"] == [{"key": "default", "tokens": 120, "model_calls": 2, "usd": 0.0015}]


def test_the_settings_of_the_guide_are_accepted() -> None:
    shown = dict(ASSIGNMENT.findall("\n".join(block.text for block in guide())))

    settings = load_settings(_env_file=None, **{name.lower(): value for name, value in shown.items()})

    assert set(shown) == {"TENANT_BUDGETS", "AGENT_BUDGETS", "SESSION_BUDGET"}
    assert settings.session_budget is not None


async def test_what_the_guide_shows_works_in_its_order(api: Api, terminal: Terminal) -> None:
    done = []
    for call in (call for block in guide() for call in calls(block.text)):
        # Those with an id need a task that is paused; `task` follows from the main thread only.
        if EXAMPLE_ID in " ".join(call.arguments) or call.arguments[0] == "task":
            continue
        if call.program == "orchestrate":
            await terminal.prints(*call.arguments)
        elif call.program == "curl" and (curl := curl_of(call)):
            json_body = {"content-type": "application/json"}
            response = await api.client.request(curl.method, curl.path, content=curl.body, headers=json_body)
            assert response.is_success, (curl, response.text)
        done.append(call.program)

    assert (done.count("orchestrate"), done.count("curl")) == (8, 6)
