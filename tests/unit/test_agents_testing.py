import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.contracts import AgentInputInvalid
from app.agents.specs import AgentSpec
from app.agents.testing import ScriptedChat, ScriptedToolbox, call_tool, check_agent, run_agent
from app.agents.tools.errors import ToolArgumentsInvalid, ToolNotAllowed, ToolNotUsable
from app.agents.tools.models import SideEffect, ToolCall, ToolSpec
from app.agents.tools.toolbox import LARGEST_EFFECT
from app.errors import Invalid
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message
from app.llm.usage import ModelRole


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = "Oslo"


class Bridges(BaseModel):
    count: int


class BridgeAgent(BaseAgent):
    """Asks twice, and a tool in between."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        asked = (Message("user", request.text),)
        pieces: list[str] = []
        first = await tools.chat.complete(ModelRole.TEXT, asked, on_token=pieces.append)
        counted = await tools.toolbox.call("count", {"city": City.model_validate(request.inputs).name})
        answer = await tools.chat.structured(ModelRole.TEXT, asked, Bridges)
        data: dict[str, Any] = {"count": counted.content if first.text == "wrong" else answer.value.count}
        return AgentOutput(summary="".join(pieces), raw_output=counted.text, data=data)


AGENT = AgentSpec(
    name="BridgeAgent",
    agent_type="bridge",
    description="Counts bridges.",
    examples=("How many bridges?",),
    model_role=ModelRole.TEXT,
    factory=f"{__name__}:BridgeAgent",
    input_model=City,
    output_model=Bridges,
)
COUNTED = json.dumps({"count": 7})


async def test_a_run_gets_the_scripted_answers_in_turn() -> None:
    chat, box = ScriptedChat("Seven.", COUNTED), ScriptedToolbox({"count": "seven"})

    output = await run_agent(AGENT, "How many?", chat=chat, inputs={"name": "Kyiv"}, toolbox=box)

    assert (output.summary, output.raw_output, output.data) == ("Seven.", "seven", {"count": 7})
    assert box.called == [("count", {"city": "Kyiv"})]
    assert [role for role, _ in chat.asked] == [ModelRole.TEXT, ModelRole.TEXT]


async def test_input_and_output_are_checked_as_the_product_does() -> None:
    with pytest.raises(AgentInputInvalid):
        await run_agent(AGENT, "How many?", chat=ScriptedChat(), inputs={"colour": "red"})
    with pytest.raises(AgentOutputInvalid):
        await run_agent(
            AGENT, "How many?", chat=ScriptedChat("wrong", COUNTED), toolbox=ScriptedToolbox({"count": "seven"})
        )


async def test_a_tool_that_is_not_scripted_is_not_allowed() -> None:
    with pytest.raises(ToolNotAllowed, match="count"):
        await run_agent(AGENT, "How many?", chat=ScriptedChat("Seven.", COUNTED))


async def test_a_script_raises_errors_and_says_when_it_is_over() -> None:
    box = ScriptedToolbox({"count": 7})

    with pytest.raises(AgentOutputInvalid, match="no use"):
        await run_agent(AGENT, "How many?", chat=ScriptedChat("Seven.", AgentOutputInvalid("no use")), toolbox=box)
    with pytest.raises(AssertionError, match="asked 2 times; the script has 1 answers"):
        await run_agent(AGENT, "How many?", chat=ScriptedChat("Seven."), toolbox=box)


def test_an_agent_that_the_product_would_take_passes_the_check() -> None:
    check_agent(AGENT)


@pytest.mark.parametrize(
    "changes", [{"name": "CodeAgent"}, {"factory": "nowhere:Agent"}, {"description": ""}, {"agent_type": "a.b"}]
)
def test_an_agent_that_it_would_leave_out_does_not(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        check_agent(replace(AGENT, **changes))


async def send(city: City, call: ToolCall) -> Any:
    return {"to": city.name, "for": call.tenant_id, "key": call.key} if city.name else "x" * 60_000


SEND = ToolSpec("send", "Sends.", f"{__name__}:send", SideEffect.EXTERNAL, input_model=City)


async def test_a_tool_is_called_as_in_a_run() -> None:
    sent = await call_tool(SEND, {"name": "Kyiv"}, tenant_id="acme", key="a-key")
    long = await call_tool(SEND, {"name": ""})

    assert sent.content == {"to": "Kyiv", "for": "acme", "key": "a-key"}
    assert long.is_cut
    assert len(long.text) <= LARGEST_EFFECT


async def test_a_tool_that_the_product_would_not_call_is_refused() -> None:
    with pytest.raises(ToolArgumentsInvalid, match="colour"):
        await call_tool(SEND, {"colour": "red"})
    with pytest.raises(Invalid, match=r"mcp\."):
        await call_tool(replace(SEND, name="mcp.send"), {})
    with pytest.raises(ToolNotUsable, match="cannot import"):
        await call_tool(replace(SEND, factory="nowhere:send"), {})
