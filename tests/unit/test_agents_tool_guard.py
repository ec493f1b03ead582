"""Calls of tools that a guard is asked about before they are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.agents.tools.errors import ToolArgumentsInvalid, ToolNotAllowed
from app.agents.tools.models import ToolDescription
from app.database.documents import Database, Documents
from tests.effect_builders import a_ledger, an_attempt
from tests.unit.test_agents_toolbox import a_toolbox, sent


@dataclass
class Gatekeeper:
    """Lets calls pass with these arguments; without any it refuses them."""

    instead: dict[str, Any] | None
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def check(self, tool: ToolDescription, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((tool.name, arguments))
        if self.instead is None:
            raise ToolNotAllowed("not today")
        return self.instead


@pytest.mark.parametrize("name", ["look", "send"])
async def test_a_call_that_the_guard_refuses_is_not_made(name: str, database: Database) -> None:
    guard, effects = Gatekeeper(None), an_attempt(a_ledger(Documents(database["effects"])))
    sent.clear()

    with pytest.raises(ToolNotAllowed, match="not today"):
        await a_toolbox(effects=effects, guard=guard).call(name, {"city": "Oslo"})

    assert [asked for asked, _ in guard.asked] == [name]
    assert sent == []


async def test_a_call_is_made_with_what_the_guard_makes_of_its_checked_arguments() -> None:
    guard = Gatekeeper({"city": "Bergen"})

    result = await a_toolbox(guard=guard).call("look", {"city": "Oslo"})

    assert guard.asked == [("look", {"city": "Oslo", "days": 1})]
    assert result.content == {"city": "Bergen", "days": 1, "for": "acme"}


async def test_what_the_guard_makes_of_arguments_is_checked_as_well() -> None:
    with pytest.raises(ToolArgumentsInvalid):
        await a_toolbox(guard=Gatekeeper({"town": "Bergen"})).call("look", {"city": "Oslo"})


async def test_arguments_that_do_not_fit_are_not_asked_about() -> None:
    guard = Gatekeeper({})

    with pytest.raises(ToolArgumentsInvalid):
        await a_toolbox(guard=guard).call("look", {"town": "Oslo"})

    assert guard.asked == []
