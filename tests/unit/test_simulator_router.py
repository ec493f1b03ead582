from dataclasses import replace

import pytest

from app.agents.routing import describe
from app.agents.specs import BUILT_IN
from app.llm.simulator.router import UNKNOWN, choose_agent, listed_agents

ROUTABLE = [spec for spec in BUILT_IN if spec.routable]
PROMPT = f"Choose one.\n\nAgents:\n{describe(ROUTABLE)}\n\nRules:\n- Answer with a name."


@pytest.mark.parametrize(
    ("task", "agent"),
    [
        ("Write a short article about the benefits of renewable energy", "ContentAgent"),
        ("What is quantum computing?", "ContentAgent"),
        ("Summarize the latest trends in AI", "ContentAgent"),
        ("Explain what a Python decorator is", "ContentAgent"),
        ("Write a blog post about FastAPI", "ContentAgent"),
        ("Write an essay on sorting algorithms", "ContentAgent"),
        ("Draft an email to my boss about vacation", "ContentAgent"),
        ("Write about coffee", "ContentAgent"),
        ("Compare microservices and monoliths", "ContentAgent"),
        ("Write a Python function to reverse a string", "CodeAgent"),
        ("Create a REST API in Go", "CodeAgent"),
        ("Implement binary search in JavaScript", "CodeAgent"),
        ("Write a SQL query to find duplicate emails", "CodeAgent"),
        ("How do I reverse a list in Python?", "CodeAgent"),
        ("Write an email validator in Python", "CodeAgent"),
        ("Refactor this class", "CodeAgent"),
        ("Explain this code: def f(x): return x * 2", "CodeAgent"),
        ("Describe what this Python function does: def f(): pass", "CodeAgent"),
        ("Explain this Python function: def f(x): return x", "CodeAgent"),
        ("Review this code", "CodeAgent"),
        ("Review the literature on sleep", "ContentAgent"),
        ("Turn this Python into Rust", "CodeAgent"),
        ("fibonacci", "CodeAgent"),
        ("Translate this letter into German: Dear Ada, hello.", "TextProcessorAgent"),
        ("Classify this message as spam or not spam: You have won a car.", "TextProcessorAgent"),
        ("Extract the dates from the following text: It began on 2026-01-01.", "TextProcessorAgent"),
        ("What is the sentiment of this review? The soup was cold.", "TextProcessorAgent"),
        ("Write an article about sentiment analysis", "ContentAgent"),
        ("Write a Python function that translates text", "CodeAgent"),
        ("Profile the columns of this table", "DataAnalyzerAgent"),
        ("Write a SQL query that groups the rows by region", "CodeAgent"),
        ("Book me a flight to Paris", UNKNOWN),
        ("Turn off the lights", UNKNOWN),
        ("Please order a pizza", UNKNOWN),
        ("Send 100 dollars to Bob", UNKNOWN),
        ("Make me a sandwich", UNKNOWN),
        ("Hello", UNKNOWN),
        ("asdf qwer zxcv", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_task_goes_to_the_agent_whose_description_fits(task: str, agent: str) -> None:
    choice = choose_agent(PROMPT, task)

    assert choice.agent_name == agent
    assert 0.5 <= choice.confidence <= 1


@pytest.mark.parametrize("spec", ROUTABLE, ids=lambda spec: spec.name)
def test_every_agents_own_examples_reach_it(spec: object) -> None:
    for agent in ROUTABLE:
        for example in agent.examples if agent is spec else ():
            assert choose_agent(PROMPT, example).agent_name == agent.name, example


def test_an_agent_the_simulator_never_heard_of_becomes_routable_by_its_description() -> None:
    travel = replace(
        BUILT_IN[0],
        name="TravelAgent",
        description="Books flights, trains and hotels.",
        examples=("Book a flight to Rome", "Reserve a hotel room"),
    )
    prompt = f"Agents:\n{describe([*ROUTABLE, travel])}\n"

    assert choose_agent(prompt, "Book me a flight to Paris").agent_name == "TravelAgent"
    assert choose_agent(prompt, "Write a Python function to reverse a string").agent_name == "CodeAgent"


def test_rules_of_the_prompt_are_not_taken_for_agents() -> None:
    assert [agent.name for agent in listed_agents(PROMPT)] == [spec.name for spec in ROUTABLE]


def test_a_prompt_without_agents_routes_nowhere() -> None:
    assert choose_agent("Be nice.", "Write an article").agent_name == UNKNOWN
