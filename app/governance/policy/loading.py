"""Texts to policies: read, checked and compiled. A text with any error is refused whole, with all of its errors."""

import contextlib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from app.field_problems import field_problems
from app.governance.policy.conditions import MOST_WORK_TOGETHER, Condition, compile_condition
from app.governance.policy.models import Effect, FactKind, Mode, PolicyDocument, Rule
from app.governance.policy.policy import Guarded, Policy, assemble
from app.source_problems import WHOLE, DocumentInvalid, Positions, Problem, problems_of
from app.source_tree import Limits, SourceInvalid
from app.yaml_source import read_yaml, text_of

LIMITS = Limits(size=512 * 1024, depth=24)
_BEGIN = "begin with `version: 1` and `rules:`"
Compiled = dict[tuple[int, FactKind], Condition]


class PolicyInvalid(DocumentInvalid):
    code = "POLICY_INVALID"
    title = "Policy invalid"


def load_policy(text: str | bytes, *, source: str = "policy") -> Policy:
    """Raises `PolicyInvalid` with all problems, each with its line and column."""
    try:
        tree = read_yaml(text if isinstance(text, str) else text_of(text, LIMITS), LIMITS)
    except SourceInvalid as error:
        raise PolicyInvalid(problems_of(error), source=source) from error
    if not isinstance(tree.value, dict):
        problem = Problem(1, 1, WHOLE, "a policy is a mapping of keys to values", _BEGIN)
        raise PolicyInvalid([problem], source=source)
    return _loaded(tree.value, Positions(tree.places), source)


def _loaded(document: dict[str, Any], positions: Positions, source: str) -> Policy:
    problems: list[Problem] = []
    try:
        read = PolicyDocument.model_validate(document)
    except ValidationError as error:
        problems += field_problems(error, PolicyDocument, document, positions)
        read = None
    rules = dict(enumerate(read.rules)) if read else dict(_readable_rules(document))
    compiled = _compiled(rules, positions, problems)
    problems += _between(rules, positions, None if read is None else read.mode)
    if sum(one.work for one in compiled.values()) > MOST_WORK_TOGETHER:
        fix = "look at less of long texts and large objects"
        problems.append(positions.problem(("rules",), "together the conditions would read or make too much", fix))
    if problems or read is None:
        raise PolicyInvalid(problems, source=source)
    guarded = {
        kind: [Guarded(rule, compiled.get((place, kind))) for place, rule in rules.items() if kind in rule.applies_to]
        for kind in FactKind
    }
    return assemble(read, guarded)


def _readable_rules(document: dict[str, Any]) -> Iterator[tuple[int, Rule]]:
    """Those of a broken document, or at least their conditions, so that these are checked as well."""
    rules = document.get("rules")
    for place, rule in enumerate(rules if isinstance(rules, list) else ()):
        for candidate in (rule, _condition_alone(rule, place)):
            with contextlib.suppress(ValidationError):
                yield place, Rule.model_validate(candidate)
                break


def _condition_alone(rule: Any, place: int) -> dict[str, Any]:
    written = rule if isinstance(rule, dict) else {}
    kept = {"applies_to": written.get("applies_to"), "when": written.get("when") or ""}
    return {"name": f"rule-{place}", **kept, "decide": Effect.DENY.value}


def _compiled(rules: dict[int, Rule], positions: Positions, problems: list[Problem]) -> Compiled:
    compiled: Compiled = {}
    for place, rule in rules.items():
        if rule.when is None:
            continue
        for kind in dict.fromkeys(rule.applies_to):
            found = compile_condition(rule.when, kind)
            if isinstance(found, Condition):
                compiled[place, kind] = found
            else:
                path = ("rules", place, "when")
                problems += [positions.problem(path, one.message, one.fix) for one in found]
    return compiled


def _between(rules: dict[int, Rule], positions: Positions, mode: Mode | None) -> Iterator[Problem]:
    names: dict[str, int] = {}
    settled: dict[FactKind, str] = {}
    for place, rule in rules.items():
        if rule.name in names:
            message = f"rule {names[rule.name] + 1} has this name already"
            yield positions.problem(("rules", place, "name"), message, "give each rule its own")
        names.setdefault(rule.name, place)
        if mode is Mode.FIRST_MATCH and all(kind in settled for kind in rule.applies_to):
            before = settled[rule.applies_to[0]]
            message = f"it is never asked: rule {before!r} stands before it and always applies"
            yield positions.problem(("rules", place), message, "put it before that one, or remove it")
        if rule.when is None:
            settled.update((kind, rule.name) for kind in rule.applies_to if kind not in settled)
