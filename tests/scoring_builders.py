"""Subjects of scoring, built by what a test says of them and read from the golden file."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.agents.specs import BUILT_IN, CostClass
from app.governance.budgets.models import Unit
from app.governance.scoring.models import AgentFacts, ScoringSubject, TokenPrice

CHEAP = TokenPrice(prompt=150_000_000, completion=600_000_000)
CODING = "Write a Python function that reverses a string."


def facts_of(name: str, **changes: Any) -> AgentFacts:
    """A built-in agent as it is scored, with a price that no table changes."""
    spec = next(one for one in BUILT_IN if one.name == name)
    facts = AgentFacts(name, "\n".join((spec.description, *spec.examples)), spec.cost_class, price=CHEAP)
    return replace(facts, **changes)


def a_subject(text: str = CODING, *, agent: AgentFacts | None = None, **changes: Any) -> ScoringSubject:
    return ScoringSubject(text, **{"agent": agent or facts_of("CodeAgent"), **changes})


def subject_from(document: Mapping[str, Any]) -> ScoringSubject:
    """As the golden file has it; nothing in it depends on what the product's agents say of themselves."""
    agent = dict(document["agent"]) if document.get("agent") else None
    if agent is not None:
        price = agent.get("price")
        agent |= {"cost_class": CostClass(agent["cost_class"]), "price": TokenPrice(**price) if price else None}
    seconds = document.get("deadline_seconds")
    text = document["text"] * document.get("times", 1)
    apart = {"agent", "limits", "deadline_seconds", "times"}
    rest = {name: value for name, value in document.items() if name not in apart}
    return ScoringSubject(
        **{**rest, "text": text, "command": tuple(document.get("command", ()))},
        agent=AgentFacts(**agent) if agent else None,
        limits={Unit(name): amount for name, amount in document.get("limits", {}).items()},
        deadline=timedelta(seconds=seconds) if seconds else None,
    )
