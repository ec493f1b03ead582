import json
from dataclasses import replace

import pytest

from app.agents.contracts import AgentInputInvalid
from app.agents.peer import PeerAgent
from app.agents.prompt import load_prompt
from app.agents.registry import Registry
from app.agents.routing import (
    LONGEST_REASON,
    MOST_CANDIDATES,
    Accepted,
    Candidate,
    Declined,
    PromptVersion,
    Route,
    RoutingDecision,
    RoutingRule,
    UnknownTaskType,
    Unrouted,
    decide_route,
    describe,
)
from app.agents.specs import BUILT_IN
from app.llm.errors import LlmRateLimited
from app.llm.usage import ModelRole
from tests.fakes.agents import SteadyChat, a_request, tools_with

NAMES = ("ContentAgent", "CodeAgent")


def a_decision(name: str = "CodeAgent", confidence: float = 0.9, **scores: float) -> RoutingDecision:
    """``scores`` are those of the candidates."""
    return RoutingDecision(
        candidates=[Candidate(agent_name=agent, score=score, reason="So.") for agent, score in scores.items()],
        agent_name=name,
        confidence=confidence,
        reasoning="It asks for code.",
    )


def an_answer(name: str = "CodeAgent", confidence: float = 0.9, **scores: float) -> SteadyChat:
    return SteadyChat(a_decision(name, confidence, **scores).model_dump_json())


def a_peer() -> PeerAgent:
    return PeerAgent(Registry(), minimum_confidence=0.5)


@pytest.mark.parametrize(
    "decision",
    [
        a_decision(confidence=0.5),
        a_decision(confidence=0.5, CodeAgent=0.5, ContentAgent=0.1),
        # A router that is sure may score another about as high.
        a_decision(confidence=0.9, CodeAgent=0.9, ContentAgent=0.95),
        # Who does not exist is nobody's rival.
        a_decision(confidence=0.5, CodeAgent=0.5, FlightAgent=1.0),
        # Nor is who cannot be compared.
        a_decision(name=" CodeAgent ", confidence=0.5),
    ],
)
def test_a_sure_choice_of_a_listed_agent_is_accepted(decision: RoutingDecision) -> None:
    assert decide_route(decision, NAMES, 0.5) == Accepted("CodeAgent")


@pytest.mark.parametrize(
    ("decision", "rule", "why"),
    [
        (a_decision(confidence=0.49), RoutingRule.BELOW_THRESHOLD, "not sure enough (0.49, needed 0.50)"),
        (
            a_decision(confidence=0.4, CodeAgent=0.4, ContentAgent=0.2),
            RoutingRule.BELOW_THRESHOLD,
            "not sure enough",
        ),
        (
            a_decision(confidence=0.4, CodeAgent=0.4, ContentAgent=0.35),
            RoutingRule.AMBIGUOUS,
            "cannot tell CodeAgent from ContentAgent",
        ),
        (
            a_decision(confidence=0.9, CodeAgent=0.5, ContentAgent=0.8),
            RoutingRule.AMBIGUOUS,
            "cannot tell CodeAgent from ContentAgent",
        ),
        (a_decision("Unknown", 1.0), RoutingRule.UNKNOWN, "found no agent"),
        (a_decision("unknown", 1.0), RoutingRule.UNKNOWN, "found no agent"),
        (a_decision("FlightAgent", 1.0), RoutingRule.UNAVAILABLE_AGENT, "does not exist"),
        (a_decision("", 1.0), RoutingRule.UNAVAILABLE_AGENT, "does not exist"),
    ],
)
def test_anything_else_is_declined_by_a_rule_with_the_reason(
    decision: RoutingDecision, rule: RoutingRule, why: str
) -> None:
    verdict = decide_route(decision, NAMES, 0.5)

    assert isinstance(verdict, Declined)
    assert verdict.rule is rule
    assert why in verdict.why


def test_an_agent_without_the_input_it_needs_is_not_chosen() -> None:
    verdict = decide_route(a_decision(), NAMES, 0.5, lacking_input=["CodeAgent"])

    assert isinstance(verdict, Declined)
    assert verdict.rule is RoutingRule.MISSING_INPUT


def test_candidates_are_each_once_the_best_first_and_bounded() -> None:
    many = [{"agent_name": f"A{number}", "score": number / 10, "reason": "x" * 5000} for number in range(10)]
    again = [{"agent_name": "A9", "score": 0.1, "reason": "again"}]
    answer = {"candidates": again + many, "agent_name": "A9", "confidence": 1, "reasoning": "y" * 5000}

    decision = RoutingDecision.model_validate(answer)

    assert [one.agent_name for one in decision.candidates] == ["A9", "A8", "A7", "A6", "A5"]
    assert len(decision.candidates) == MOST_CANDIDATES
    assert decision.candidates[0].score == 0.9
    assert len(decision.candidates[0].reason) == len(decision.reasoning) == LONGEST_REASON


def test_an_answer_without_candidates_can_be_used() -> None:
    decision = RoutingDecision.model_validate_json('{"agent_name": "CodeAgent", "confidence": 1, "reasoning": "r"}')

    assert decide_route(decision, NAMES, 0.5) == Accepted("CodeAgent")


async def test_the_peer_agent_routes_to_the_agent_the_model_names() -> None:
    chat = an_answer()

    route = await a_peer().route(a_request("Sort a list"), tools_with(chat))

    assert (route.agent_name, route.agent_type) == ("CodeAgent", "code")
    assert (route.confidence, route.reasoning) == (0.9, "It asks for code.")
    assert chat.asked[0][0] is ModelRole.PEER
    assert chat.asked[0][1][1].content == "Sort a list"


async def test_a_task_nobody_takes_says_who_there_is_and_why() -> None:
    peer = a_peer()

    with pytest.raises(UnknownTaskType, match="ContentAgent, CodeAgent") as caught:
        await peer.route(a_request("Book a flight"), tools_with(an_answer("Unknown", 0.8)))

    assert caught.value.details["reasoning"] == "It asks for code."
    assert caught.value.details["confidence"] == 0.8
    assert not caught.value.retryable


async def test_a_decision_tells_candidates_prompt_model_threshold_and_rule() -> None:
    chat = an_answer("CodeAgent", 0.9, CodeAgent=0.9, EchoAgent=0.4, ContentAgent=0.2)

    route = await a_peer().consider(a_request("Sort a list"), tools_with(chat))

    assert isinstance(route, Route)
    assert route.grounds.rule is RoutingRule.MODEL_CHOICE
    assert [(one.agent_name, one.score) for one in route.grounds.candidates] == [
        ("CodeAgent", 0.9),
        ("ContentAgent", 0.2),
    ]
    assert route.grounds.prompt == PromptVersion("router", load_prompt("router").digest)
    assert route.grounds.model == chat.model_name(ModelRole.PEER)
    assert route.grounds.threshold == 0.5


async def test_a_task_that_goes_nowhere_has_grounds_too_and_options_the_likeliest_first() -> None:
    chat = an_answer("CodeAgent", 0.3, CodeAgent=0.3, TextProcessorAgent=0.28)

    found = await a_peer().consider(a_request("Do something with it"), tools_with(chat))

    assert isinstance(found, Unrouted)
    assert found.grounds.rule is RoutingRule.AMBIGUOUS
    # Without a table the DataAnalyzerAgent is no option.
    assert found.options == ("CodeAgent", "TextProcessorAgent", "ContentAgent")


async def test_an_agent_that_needs_input_is_chosen_only_with_some() -> None:
    chosen = "DataAnalyzerAgent"
    without, with_some = a_request("Profile it"), replace(a_request("Profile it"), inputs={"csv": "a\n1\n"})

    with pytest.raises(AgentInputInvalid, match="hand in one table"):
        await a_peer().route(without, tools_with(an_answer(chosen)))
    route = await a_peer().route(with_some, tools_with(an_answer(chosen)))

    assert route.agent_name == chosen


async def test_an_agent_that_is_not_routable_cannot_be_chosen() -> None:
    with pytest.raises(UnknownTaskType, match="does not exist"):
        await a_peer().route(a_request("ping"), tools_with(an_answer("EchoAgent")))


async def test_a_failing_model_call_comes_through_unchanged() -> None:
    error = LlmRateLimited("slow down")

    with pytest.raises(LlmRateLimited) as caught:
        await a_peer().route(a_request("x"), tools_with(SteadyChat(error)))

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
    drawn = a_peer()._graph.get_graph()

    assert [(edge.source, edge.target) for edge in drawn.edges] == [
        ("__start__", "classify_task"),
        ("classify_task", "route_to_agent"),
        ("route_to_agent", "__end__"),
    ]


def test_the_decision_schema_is_one_that_strict_mode_takes() -> None:
    schema = RoutingDecision.model_json_schema()

    assert schema["title"] == "RoutingDecision"
    assert set(schema["required"]) == {"candidates", "agent_name", "confidence", "reasoning"}
    assert "default" not in json.dumps(schema)


def test_every_listed_agent_shows_its_examples() -> None:
    listed = describe(BUILT_IN)

    assert all(example in listed for spec in BUILT_IN for example in spec.examples)
