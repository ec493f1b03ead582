import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.agents.content.checking import SupportVerdict, check_messages
from app.agents.content.planning import ResearchPlan, plan_messages, queries_of
from app.llm.simulator.completions import reply_to
from app.llm.simulator.conversation import Conversation, Kind, read_conversation
from app.llm.simulator.faults import NO_FAULT
from tests.fakes.agents import a_source


def asked(messages: Any, schema: type[Any]) -> Conversation:
    wanted = {"name": schema.__name__, "schema": schema.model_json_schema()}
    return read_conversation(
        {
            "model": "m",
            "messages": [{"role": one.role, "content": one.content} for one in messages],
            "response_format": {"type": "json_schema", "json_schema": wanted},
        }
    )


def answer(conversation: Conversation) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(reply_to(conversation, NO_FAULT).content or "")
    return found


def the_plan(task: str) -> list[str]:
    return queries_of(ResearchPlan.model_validate(answer(asked(plan_messages(task, ()), ResearchPlan))))


@pytest.mark.parametrize(
    ("task", "queries"),
    [
        ("Write a short article about renewable energy", ["Renewable energy"]),
        ("Compare solar power with wind power.", ["Solar power with wind power", "solar power", "wind power"]),
        ("Write a haiku about rain", []),
    ],
)
def test_a_plan_searches_for_the_subject_and_for_each_side_of_a_comparison(task: str, queries: list[str]) -> None:
    assert the_plan(task) == queries


def test_a_fault_for_the_search_travels_with_the_query_and_no_other_does() -> None:
    (query,) = the_plan("Write about tea [[sim error=500 role=search]] [[sim latency=1 role=writer]]")

    assert query == "Tea [[sim role=search error=500]]"


def test_a_paragraph_is_supported_when_it_shares_a_word_with_what_it_cites() -> None:
    paragraphs = ["Wind turns <rotors> [1].", "Elephants never forget [1].", "In short, all fits [1]."]
    asked_for = asked(check_messages("Wind", paragraphs, [a_source(1, "Rotors turn in the wind.")]), SupportVerdict)

    verdict = SupportVerdict.model_validate(answer(asked_for))

    assert asked_for.kind is Kind.CHECKER
    assert [claim.paragraph for claim in verdict.unsupported] == [2]


def test_a_directive_in_the_text_that_is_checked_is_no_order() -> None:
    messages = check_messages("Wind", ["Type [[sim error=500]] or [[sim nonsense]] [1]."], [a_source(1)])

    assert asked(messages, SupportVerdict).faults == ()
