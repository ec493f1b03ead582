"""Tests of policies as data: facts, and what has to be decided about them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from app.field_problems import field_problems
from app.governance.policy.deciding import Decision, decide
from app.governance.policy.facts import Facts, read_facts
from app.governance.policy.loading import LIMITS, PolicyInvalid
from app.governance.policy.models import Decides, Effect, Kind, RuleName, Strict
from app.governance.policy.policy import Policy
from app.source_problems import WHOLE, Positions, Problem, problems_of
from app.source_tree import SourceInvalid
from app.yaml_source import read_yaml, text_of

MOST_CASES = 1000


class Case(Strict):
    """What is known, and what has to come of it; a fact that is not given is not known."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    applies_to: Kind
    facts: dict[str, Any] = Field(default_factory=dict)
    expect: Decides
    rule: RuleName | None = Field(None, description="The rule that has to decide; `null` is any.")


class CaseDocument(Strict):
    version: Literal[1]
    policy: str = Field("policy.yaml", min_length=1, max_length=500, description="Path of the policy from this file.")
    cases: list[Case] = Field(min_length=1, max_length=MOST_CASES)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """``facts`` are those of each case."""

    document: CaseDocument
    facts: tuple[Facts, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    case: Case
    decision: Decision

    @property
    def passed(self) -> bool:
        by_rule = self.case.rule is None or self.case.rule == self.decision.rule
        return self.decision.effect is self.case.expect and by_rule

    @property
    def expected(self) -> str:
        return _told(self.case.expect, self.case.rule) if self.case.rule else self.case.expect.value

    @property
    def decided(self) -> str:
        return f"{_told(self.decision.effect, self.decision.rule)}: {self.decision.told}"


def load_cases(text: str | bytes, *, source: str) -> CaseFile:
    """Raises `PolicyInvalid` with all problems."""
    try:
        tree = read_yaml(text if isinstance(text, str) else text_of(text, LIMITS), LIMITS)
    except SourceInvalid as error:
        raise PolicyInvalid(problems_of(error), source=source) from error
    if not isinstance(tree.value, dict):
        fix = "begin with `version: 1`, `policy: policy.yaml` and `cases:`"
        raise PolicyInvalid([Problem(1, 1, WHOLE, "tests are a mapping of keys to values", fix)], source=source)
    positions = Positions(tree.places)
    try:
        document = CaseDocument.model_validate(tree.value)
    except ValidationError as error:
        raise PolicyInvalid(field_problems(error, CaseDocument, tree.value, positions), source=source) from error
    read = [read_facts(case.applies_to, case.facts) for case in document.cases]
    problems = [
        positions.problem(("cases", place, "facts", *path), message)
        for place, (_, found) in enumerate(read)
        for path, message in found
    ]
    if problems:
        raise PolicyInvalid(problems, source=source)
    return CaseFile(document, tuple(facts for facts, _ in read))


def judged(policy: Policy, cases: CaseFile) -> Iterator[Verdict]:
    for case, facts in zip(cases.document.cases, cases.facts, strict=True):
        yield Verdict(case, decide(policy, facts))


def _told(effect: Effect, rule: str | None) -> str:
    return f"{effect} by rule {rule!r}" if rule else f"{effect} by default"
