"""What policies decide: always something, always the same, and never more than is certain."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.governance.policy import deciding
from app.governance.policy.deciding import decide
from app.governance.policy.facts import FACTS, Facts
from app.governance.policy.loading import load_policy
from app.governance.policy.models import Effect, FactKind
from app.governance.policy.policy import Batch, Policy
from tests.policy_builders import facts

TOOL = FactKind.TOOL


def a_policy(*rules: str, head: str = "") -> Policy:
    """Of rules as `name effect condition`, about tools."""
    lines = []
    for one in rules:
        name, effect, when = one.split(" ", 2)
        lines.append(f"  - {{name: {name}, applies_to: [tool], decide: {effect}, when: '{when}'}}")
    return load_policy("\n".join(["version: 1", head, "rules:", *lines] if lines else ["version: 1", head]))


def test_the_first_rule_that_applies_decides() -> None:
    policy = a_policy('a allow tool.name == "x"', 'b deny tool.side_effect == "external"', "c allow true")

    decision = decide(policy, facts(TOOL))

    assert (decision.effect, decision.rule, decision.reasons) == (Effect.DENY, "b", ("rule 'b' applies",))
    assert decision.policy_digest == policy.digest


def test_the_strictest_rule_decides_where_denials_override() -> None:
    rules = ("a allow true", "b require_approval true", "c deny true", "d deny true")

    decision = decide(a_policy(*rules, head="mode: deny-overrides"), facts(TOOL))
    without = decide(a_policy(*rules[:2], head="mode: deny-overrides"), facts(TOOL))

    assert (decision.effect, decision.rule) == (Effect.DENY, "c")
    assert decision.reasons == ("rule 'c' applies", "rule 'd' applies")
    assert (without.effect, without.rule, without.approval is not None) == (Effect.REQUIRE_APPROVAL, "b", True)


@pytest.mark.parametrize("default", list(Effect))
def test_the_default_holds_where_no_rule_applies(default: Effect) -> None:
    policy = a_policy("a allow false", head=f"default: {default}")

    decision = decide(policy, facts(TOOL))

    assert (decision.effect, decision.rule) == (default, None)
    assert decision.reasons == (f"no rule applies, and the default is {default}",)
    assert (decision.approval is not None) == (default is Effect.REQUIRE_APPROVAL)


def test_a_rule_is_asked_only_about_what_it_applies_to() -> None:
    policy = a_policy("a deny true")

    assert decide(policy, facts(TOOL)).effect is Effect.DENY
    assert decide(policy, facts(FactKind.TASK)).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("when", "known", "reason"),
    [
        ("spend.usd > 1.0", {"spend.usd": None}, "spend.usd is not known"),
        ("tool.arguments.size_of > 3", {}, "a part of it is not there"),
        ("tool.arguments.path > 3", {}, "an operator or function is used with values of the wrong types"),
        ("spend.tokens + 9223372036854775807 > 0", {"spend.tokens": 1}, "a number becomes too large"),
        ("1 / spend.tokens > 0", {}, "it divides by zero"),
        ('tool.name.matches("[a")', {}, "a regular expression is not one"),
        ("tool.arguments.path", {}, "it gives neither true nor false"),
        ('tool.arguments.path == "/"', {"tool.arguments": {"path": "a\0b"}}, "tool.arguments is not known"),
        ('tool.arguments.path == "/"', {"tool.arguments": {"path": "x" * 300_000}}, "tool.arguments is not known"),
        ("tool.arguments.n == 1", {"tool.arguments": {"n": 2**64}}, "tool.arguments is not known"),
        ('tool.name == "a"', {"tool.name": "a\ud800"}, "tool.name is not known"),
    ],
)
@pytest.mark.parametrize("mode", ["first-match", "deny-overrides"])
def test_a_condition_that_cannot_be_evaluated_denies(when: str, known: dict[str, Any], reason: str, mode: str) -> None:
    policy = a_policy(f"a allow {when}", "b allow true", head=f"mode: {mode}")

    decision = decide(policy, facts(TOOL, known))

    assert (decision.effect, decision.rule) == (Effect.DENY, "a")
    assert decision.reasons == (f"the condition of rule 'a' cannot be evaluated, so it denies: {reason}",)


def test_what_is_not_known_does_not_matter_where_the_rest_decides() -> None:
    policy = a_policy('a deny tool.name == "x" && spend.usd > 1.0', "b allow true")

    decision = decide(policy, facts(TOOL, {"spend.usd": None}))

    assert (decision.effect, decision.rule) == (Effect.ALLOW, "b")


def test_reasons_hold_no_values_of_facts() -> None:
    policy = a_policy("a deny tool.arguments.token == 3", "b deny tool.arguments.path.size() / 0 > 1")

    told = decide(policy, facts(TOOL, {"tool.arguments": {"token": "hunter2", "path": "hunter2"}})).told

    assert "hunter2" not in told


SCORED = "auto_approve: {risk_below: 0.3, cost_below: 0.2}"
HOLD = "version: 1\n{head}\nrules:\n  - {{name: a, applies_to: [task], decide: require_approval, {rest}}}"


@pytest.mark.parametrize(
    ("scores", "effect"),
    [
        ({"scores.risk": 0.29, "scores.cost": 0.19}, Effect.ALLOW),
        ({"scores.risk": 0.3, "scores.cost": 0.19}, Effect.REQUIRE_APPROVAL),
        ({"scores.risk": 0.1, "scores.cost": 0.2}, Effect.REQUIRE_APPROVAL),
        ({"scores.risk": 0.1}, Effect.REQUIRE_APPROVAL),
        ({"scores.risk": float("nan"), "scores.cost": 0.1}, Effect.REQUIRE_APPROVAL),
        ({}, Effect.REQUIRE_APPROVAL),
    ],
)
def test_what_scores_low_enough_needs_nobody(scores: dict[str, float], effect: Effect) -> None:
    policy = load_policy(HOLD.format(head=SCORED, rest="approval: {quorum: 2}"))

    decision = decide(policy, facts(FactKind.TASK, scores))

    assert decision.effect is effect
    if effect is Effect.ALLOW:
        assert decision.reasons[-1] == "approved automatically: risk 0.29 is below 0.3 and cost 0.19 is below 0.2"
    else:
        assert decision.approval is not None
        assert decision.approval.quorum == 2


@pytest.mark.parametrize(
    ("thresholds", "values", "effect"),
    [
        ("feasibility_above: 0.5", {"scores.feasibility": 0.51}, Effect.ALLOW),
        ("feasibility_above: 0.5", {"scores.feasibility": 0.5}, Effect.REQUIRE_APPROVAL),
        ("alignment_above: 0.0", {"scores.alignment": float("nan")}, Effect.REQUIRE_APPROVAL),
        ("spend_usd_below: 0.1", {"spend.usd": 0.09}, Effect.ALLOW),
        ("spend_usd_below: 0.1", {"spend.usd": 0.1}, Effect.REQUIRE_APPROVAL),
        ("spend_usd_below: 0.1", {"spend.usd": None}, Effect.REQUIRE_APPROVAL),
        ("spend_usd_below: 0.1, risk_below: 0.3", {"spend.usd": 0.0}, Effect.REQUIRE_APPROVAL),
    ],
)
def test_thresholds_are_of_scores_that_have_to_be_high_and_of_money_as_well(
    thresholds: str, values: dict[str, float | None], effect: Effect
) -> None:
    policy = load_policy(HOLD.format(head=f"auto_approve: {{{thresholds}}}", rest="reason: so"))

    assert decide(policy, facts(FactKind.TASK, values)).effect is effect
    assert policy.is_scored is (thresholds != "spend_usd_below: 0.1")


def test_a_rule_that_insists_on_people_is_not_approved_automatically() -> None:
    policy = load_policy(HOLD.format(head=SCORED, rest="auto_approve: false"))

    decision = decide(policy, facts(FactKind.TASK, {"scores.risk": 0.0, "scores.cost": 0.0}))

    assert decision.effect is Effect.REQUIRE_APPROVAL


def test_automatic_approval_never_lifts_a_denial() -> None:
    policy = load_policy(f"version: 1\ndefault: deny\n{SCORED}")

    assert decide(policy, facts(FactKind.TASK, {"scores.risk": 0.0, "scores.cost": 0.0})).effect is Effect.DENY


def test_every_fact_can_be_asked_for() -> None:
    sources = {"text": '!= "?"', "integer": ">= 0", "number": ">= 0.0", "boolean": "== true", "time": "> timestamp(0)"}
    for name, fact in FACTS.items():
        kind = min(fact.kinds)
        when = f"{name} {sources[fact.type]}" if fact.type in sources else f"{name}.size() >= 0"

        load_policy(f"version: 1\nrules:\n  - {{name: a, applies_to: [{kind}], decide: deny, when: '{when}'}}")


CONDITIONS = ("true", "false", "spend.tokens > 5", "spend.usd > 0.5", 'tool.arguments.path == "/a"', "1 / 0 > 1")
RULES = st.lists(st.tuples(st.sampled_from(list(Effect)), st.sampled_from(CONDITIONS)), max_size=8)
KNOWN = st.fixed_dictionaries(
    {
        "spend.tokens": st.sampled_from([0, 9, None]),
        "spend.usd": st.sampled_from([0.1, 0.9, None]),
        "tool.arguments": st.sampled_from([{"path": "/a"}, {"path": 1}, {}, None]),
    }
)


def truth(when: str, known: dict[str, Any]) -> bool | None:
    """As a person would say it; None is that nobody can."""
    match when:
        case "true" | "false":
            return when == "true"
        case "spend.tokens > 5":
            return None if known["spend.tokens"] is None else known["spend.tokens"] > 5
        case "spend.usd > 0.5":
            return None if known["spend.usd"] is None else known["spend.usd"] > 0.5
        case "1 / 0 > 1":
            return None
        case _:
            arguments = known["tool.arguments"]
            return None if arguments is None or "path" not in arguments else arguments["path"] == "/a"


@given(rules=RULES, known=KNOWN, mode=st.sampled_from(["first-match", "deny-overrides"]))
def test_decisions_are_those_of_a_plain_reading(
    rules: list[tuple[Effect, str]], known: dict[str, Any], mode: str
) -> None:
    policy = a_policy(*(f"r{place} {one} {when}" for place, (one, when) in enumerate(rules)), head=f"mode: {mode}")

    decision = decide(policy, facts(TOOL, known))

    answers = [(place, one, truth(when, known)) for place, (one, when) in enumerate(rules)]
    applying = [(place, Effect.DENY if holds is None else one) for place, one, holds in answers if holds is not False]
    if mode == "deny-overrides":
        strictness = [Effect.DENY, Effect.REQUIRE_APPROVAL, Effect.ALLOW]
        applying.sort(key=lambda one: (strictness.index(one[1]), one[0]))
    expected = (f"r{applying[0][0]}", applying[0][1]) if applying else (None, Effect.ALLOW)
    assert (decision.rule, decision.effect) == expected
    assert decide(policy, facts(TOOL, known)) == decision


@given(rules=RULES, known=KNOWN)
def test_conditions_come_to_the_same_one_by_one_as_all_at_once(
    rules: list[tuple[Effect, str]], known: dict[str, Any]
) -> None:
    policy = a_policy(
        *(f"r{place} {one} {when}" for place, (one, when) in enumerate(rules)), head="mode: deny-overrides"
    )
    apart = replace(
        policy,
        batches={
            kind: tuple(Batch(batch.rules, None, batch.names) for batch in batches)
            for kind, batches in policy.batches.items()
        },
    )

    assert decide(apart, facts(TOOL, known)) == decide(policy, facts(TOOL, known))


def test_hundreds_of_rules_are_decided_about_in_their_order() -> None:
    rules = [f'r{number} deny tool.name == "{"x" * 200}{number}"' for number in range(400)]
    policy = a_policy(*rules)

    found = [decide(policy, Facts(TOOL, {"tool.name": "x" * 200 + str(number)})).rule for number in (0, 1, 250, 399)]

    assert found == ["r0", "r1", "r250", "r399"]
    assert len(policy.batches[TOOL]) > 1
    assert all(batch.together is not None for batch in policy.batches[TOOL])


def test_a_comment_at_the_end_of_a_condition_swallows_nothing_else() -> None:
    policy = load_policy(
        'version: 1\nrules:\n  - {name: a, applies_to: [tool], decide: deny, when: "false // ]"}\n'
        "  - {name: b, applies_to: [tool], decide: deny, when: 'true'}\n"
    )

    assert decide(policy, facts(TOOL)).rule == "b"
    assert all(batch.together is not None for batch in itertools.chain(*policy.batches.values()))


def test_without_a_policy_everything_is_allowed() -> None:
    assert deciding.ALLOWED.effect is Effect.ALLOW
