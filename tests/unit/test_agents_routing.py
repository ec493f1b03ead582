import json
from dataclasses import replace

import pytest

from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.routing import Accepted, Declined, Route, RoutingDecision, UnknownTaskType, decide_route, describe
from app.agents.specs import BUILT_IN
from app.llm.errors import LlmRateLimited
from app.llm.usage import ModelRole
from tests.unit.test_agents_fakes import ScriptedChat, a_request, tools_with

NAMES = ("ContentAgent", "CodeAgent")


def a_decision(name: str = "CodeAgent", confidence: float = 0.9) -> RoutingDecision:
    return RoutingDecision(agent_name=name, confidence=confidence, reasoning="It asks for code.")


def an_answer(name: str = "CodeAgent", confidence: float = 0.9) -> ScriptedChat:
    return ScriptedChat(a_decision(name, confidence).model_dump_json())


def test_a_sure_choice_of_a_listed_agent_is_accepted() -> None:
    assert decide_route(a_decision(confidence=0.5), NAMES, 0.5) == Accepted("CodeAgent")


@pytest.mark.parametrize(
    ("name", "confidence", "why"),
    [
        ("CodeAgent", 0.49, "not sure enough"),
        ("Unknown", 1.0, "found no agent"),
        ("unknown", 1.0, "found no agent"),
        ("FlightAgent", 1.0, "does not exist"),
        ("", 1.0, "does not exist"),
    ],
)
def test_anything_else_is_declined_with_the_reason(name: str, confidence: float, why: str) -> None:
    verdict = decide_route(a_decision(name, confidence), NAMES, 0.5)

    assert isinstance(verdict, Declined)
    assert why in verdict.why


async def test_the_peer_agent_routes_to_the_agent_the_model_names() -> None:
    chat = an_answer()

    route = await PeerAgent(Registry(), minimum_confidence=0.5).route(a_request("Sort a list"), tools_with(chat))

    assert route == Route("CodeAgent", "code", 0.9, "It asks for code.")
    assert chat.asked[0][0] is ModelRole.PEER
    assert chat.asked[0][1][1].content == "Sort a list"


async def test_a_task_nobody_takes_says_who_there_is_and_why() -> None:
    peer = PeerAgent(Registry(), minimum_confidence=0.5)

    with pytest.raises(UnknownTaskType, match="ContentAgent, CodeAgent") as caught:
        await peer.route(a_request("Book a flight"), tools_with(an_answer("Unknown", 0.8)))

    assert caught.value.details["reasoning"] == "It asks for code."
    assert caught.value.details["confidence"] == 0.8
    assert not caught.value.retryable


async def test_an_agent_that_is_not_routable_cannot_be_chosen() -> None:
    with pytest.raises(UnknownTaskType, match="does not exist"):
        await PeerAgent(Registry(), minimum_confidence=0.5).route(a_request("ping"), tools_with(an_answer("EchoAgent")))


async def test_a_failing_model_call_comes_through_unchanged() -> None:
    error = LlmRateLimited("slow down")

    with pytest.raises(LlmRateLimited) as caught:
        await PeerAgent(Registry(), minimum_confidence=0.5).route(a_request("x"), tools_with(ScriptedChat(error)))

    assert caught.value is error


async def test_an_agent_added_to_the_registry_is_in_the_prompt() -> None:
    translator = replace(
        BUILT_IN[0], name="TranslationAgent", agent_type="translation", description="Translates.", examples=("Say it",)
    )
    chat = an_answer("TranslationAgent")

    route = await PeerAgent(Registry([*BUILT_IN, translator]), minimum_confidence=0.5).route(
        a_request("x"), tools_with(chat)
    )

    assert route.agent_type == "translation"
    assert "- TranslationAgent: Translates.\n  Example: Say it" in chat.asked[0][1][0].content
    assert "EchoAgent" not in chat.asked[0][1][0].content


def test_the_graph_has_exactly_the_two_documented_nodes() -> None:
    drawn = PeerAgent(Registry(), minimum_confidence=0.5)._graph.get_graph()

    assert [(edge.source, edge.target) for edge in drawn.edges] == [
        ("__start__", "classify_task"),
        ("classify_task", "route_to_agent"),
        ("route_to_agent", "__end__"),
    ]


def test_the_decision_schema_is_one_that_strict_mode_takes() -> None:
    schema = RoutingDecision.model_json_schema()

    assert schema["title"] == "RoutingDecision"
    assert set(schema["required"]) == {"agent_name", "confidence", "reasoning"}
    assert "default" not in json.dumps(schema)


def test_every_listed_agent_shows_its_examples() -> None:
    listed = describe(BUILT_IN)

    assert all(example in listed for spec in BUILT_IN for example in spec.examples)
