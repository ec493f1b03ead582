"""Scenarios: what a rule matches, when it shows, that chance repeats itself, and how mistakes are told."""

from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from pydantic import ValidationError

from app.llm.simulator.chance import Constant, Lognormal, Uniform, draw
from app.llm.simulator.conversation import Kind
from app.llm.simulator.faults import Behaviour
from app.llm.simulator.player import Player
from app.llm.simulator.scenario import Asked, Burst, Match, Scenario
from app.llm.simulator.scenario_files import (
    LIMITS,
    ScenarioInvalid,
    built_in_scenarios,
    load_scenario,
    parse_scenario,
    scenario_names,
    scenario_of,
)

BROKEN = """\
name: mine
description: Mine.
rules:
  - name: one
    then:
      latency: {distribution: lognormal, p50: 3, p99: 1}
  - name: two
    probability: 2
    then: {eror: 500}
"""


def asked(role: Kind = Kind.WRITER, **facts: Any) -> Asked:
    return Asked(**{"role": role, "model": "gpt-4o", "streaming": False, "tokens": 10, "is_corrected": False, **facts})


def a_scenario(*rules: dict[str, Any]) -> Scenario:
    named = [{"name": f"rule-{place}", **rule} for place, rule in enumerate(rules)]
    return scenario_of({"name": "mine", "description": "Mine.", "rules": named})


def errors_of(player: Player, digest: str = "prompt", *, calls: int) -> list[str | None]:
    return [player.due(asked(), digest).fault.error for _ in range(calls)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("match", "facts", "covered"),
    [
        ({}, {}, True),
        ({}, {"role": Kind.SEARCH}, False),
        ({"roles": ["search"]}, {"role": Kind.SEARCH}, True),
        ({"roles": ["router", "coder"]}, {}, False),
        ({"models": ["claude-*", "gpt-4*"]}, {}, True),
        ({"models": ["GPT-4*"]}, {}, False),
        ({"streaming": True}, {}, False),
        ({"streaming": False}, {}, True),
        ({"corrected": False}, {"is_corrected": True}, False),
        ({"tokens_over": 10}, {}, False),
        ({"tokens_over": 9}, {}, True),
    ],
    ids=str,
)
def test_a_rule_is_for_the_calls_that_it_names(match: dict[str, Any], facts: dict[str, Any], covered: bool) -> None:
    assert Match.model_validate(match, strict=False).covers(asked(**facts)) is covered


@pytest.mark.parametrize(
    ("elapsed", "on"), [(0, False), (1, True), (2.9, True), (3, False), (10.9, False), (11, True), (13, False)]
)
def test_a_burst_begins_ends_and_comes_again(elapsed: float, on: bool) -> None:
    assert Burst(start=1, duration=2, period=10).is_on(elapsed) is on


def test_a_burst_without_a_period_comes_once() -> None:
    assert [Burst(duration=2).is_on(elapsed) for elapsed in (0, 1.9, 2, 1000)] == [True, True, False, False]


def test_the_clock_of_bursts_starts_with_the_scenario() -> None:
    clock = Clock()
    player = Player(a_scenario({"burst": {"start": 5, "duration": 1}, "then": {"error": 503}}), clock=clock)

    before = errors_of(player, calls=1)
    clock.now += 5.5

    assert (before, errors_of(player, calls=1)) == ([None], ["503"])


def test_the_same_seed_and_the_same_prompts_have_the_same_faults_in_any_order() -> None:
    scenario = a_scenario({"probability": 0.5, "then": {"error": 500}})
    one, other = Player(scenario, seed=7), Player(scenario, seed=7)

    in_turn = {prompt: errors_of(one, prompt, calls=20) for prompt in ("a", "b")}
    mixed = [(errors_of(other, "b", calls=1)[0], errors_of(other, "a", calls=1)[0]) for _ in range(20)]

    assert in_turn == {"a": [second for _, second in mixed], "b": [first for first, _ in mixed]}
    assert in_turn["a"] != in_turn["b"]
    assert set(in_turn["a"]) == {None, "500"}


def test_another_seed_has_other_faults() -> None:
    scenario = a_scenario({"probability": 0.5, "then": {"error": 500}})

    first, second = (errors_of(Player(scenario, seed=seed), calls=64) for seed in (1, 2))

    assert first != second


def test_a_probability_is_the_share_of_calls() -> None:
    player = Player(a_scenario({"probability": 0.2, "then": {"error": 500}}))

    errors = errors_of(player, calls=2000)

    assert 0.15 < errors.count("500") / 2000 < 0.25


def test_a_limit_is_for_all_calls_and_one_per_prompt_for_those_of_a_prompt() -> None:
    limited = Player(a_scenario({"limit": 3, "then": {"error": 500}}))
    per_prompt = Player(a_scenario({"limit_per_prompt": 1, "then": {"error": 500}}))

    assert errors_of(limited, "a", calls=2) + errors_of(limited, "b", calls=2) == ["500", "500", "500", None]
    assert errors_of(per_prompt, "a", calls=2) + errors_of(per_prompt, "b", calls=2) == ["500", None, "500", None]
    assert limited.report()["fired"] == {"rule-0": 3}


def test_the_first_rule_that_fails_a_call_decides_and_the_longest_latency_counts() -> None:
    latencies = [{"latency": {"distribution": "constant", "seconds": seconds}} for seconds in (1, 3, 2)]
    rules = [*latencies, {"error": 503}, {"answer": "refuse"}]
    player = Player(a_scenario(*({"then": then} for then in rules)))

    verdict = player.due(asked(), "prompt")

    assert (verdict.fault.latency, verdict.fault.error, verdict.fault.behaviour) == (3, "503", None)
    assert verdict.rules == ("rule-0", "rule-1", "rule-2", "rule-3")


def test_latencies_are_distributed_as_they_are_named() -> None:
    chances = [draw(1, place) for place in range(4000)]
    lognormal = [Lognormal(distribution="lognormal", p50=0.4, p99=4).at(chance) for chance in chances]
    uniform = [Uniform(distribution="uniform", low=1, high=3).at(chance) for chance in chances]

    assert median(lognormal) == pytest.approx(0.4, rel=0.1)
    assert quantiles(lognormal, n=100)[98] == pytest.approx(4, rel=0.25)
    assert 1 <= min(uniform) < 1.1
    assert 2.9 < max(uniform) <= 3
    assert {Constant(distribution="constant", seconds=2).at(chance) for chance in chances} == {2}


def test_chance_never_is_zero_or_one() -> None:
    assert all(0 < draw(0, place) < 1 for place in range(1000))


def test_every_built_in_scenario_is_named_like_its_file_and_does_what_it_says() -> None:
    shown = {scenario.name: scenario for scenario in built_in_scenarios()}

    assert sorted(shown) == scenario_names()
    assert shown["calm"].rules == ()
    everything = {rule.then.answer for rule in shown["bad-day"].rules}
    assert {Behaviour.HANG, Behaviour.DROP, Behaviour.LENGTH, Behaviour.SCHEMA, Behaviour.REFUSE} <= everything


def test_every_mistake_is_told_with_its_line_and_field() -> None:
    with pytest.raises(ScenarioInvalid) as caught:
        parse_scenario(BROKEN, source="mine.yaml")

    assert caught.value.message.split("; ") == [
        "mine.yaml:6: rules.0.then.latency.lognormal: p99 must not be less than p50",
        "mine.yaml:8: rules.1.probability: Input should be less than or equal to 1",
        "mine.yaml:9: rules.1.then.eror: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\n\t- y", "mine.yaml:2: it is not YAML"),
        ("", "mine.yaml:1: scenario: Input should be an object"),
        ("- 1", "mine.yaml:1: scenario: Input should be an object"),
        ("name: a\nname: b\ndescription: c", "mine.yaml:2: name is there twice"),
        ("name: &a x\ndescription: *a", "aliases are not allowed"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("name: 2020-01-01\ndescription: x", "mine.yaml:1: name"),
        ("name: a\ndescription: !!python/object:os.system x", "mine.yaml:2: tags are not allowed"),
    ],
    ids=["syntax", "nothing", "list", "duplicate", "alias", "depth", "date", "object"],
)
def test_what_is_no_scenario_is_refused(text: str, told: str) -> None:
    with pytest.raises(ScenarioInvalid) as caught:
        parse_scenario(text, source="mine.yaml")

    assert told in caught.value.message


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ({}, "say what happens"),
        ({"error": 500, "answer": "hang"}, "not both"),
        ({"error": 200}, "rules.0.then.error"),
        ({"error": 500, "retry_after": 1}, "retry_after belongs to error 429"),
        ({"error": 503, "reset_after": 1}, "reset_after belongs to error 429"),
        ({"answer": "hang", "after": 0.5}, "drop or stall"),
        ({"answer": "explode"}, "rules.0.then.answer"),
        ({"latency": {"distribution": "uniform", "low": 2, "high": 1}}, "high must not be less"),
        ({"latency": {"distribution": "normal"}}, "distribution"),
        ({"pace": float("nan")}, "finite"),
    ],
    ids=str,
)
def test_an_effect_that_makes_no_sense_is_refused(then: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioInvalid, match=told):
        a_scenario({"then": then})


def test_rules_have_names_of_their_own_and_bursts_have_gaps() -> None:
    with pytest.raises(ScenarioInvalid, match="two rules are named 'x'"):
        a_scenario({"name": "x", "then": {"error": 500}}, {"name": "x", "then": {"error": 500}})
    with pytest.raises(ValidationError, match="period must be longer"):
        Burst(duration=2, period=2)


def test_a_file_is_read_and_one_that_is_missing_or_too_large_is_named(tmp_path: Path) -> None:
    mine, large = tmp_path / "mine.yaml", tmp_path / "large.yaml"
    mine.write_text("name: mine\ndescription: Mine.\n")
    large.write_text("#" * (LIMITS.size + 1))

    assert load_scenario(str(mine)).name == "mine"
    with pytest.raises(ScenarioInvalid, match="larger than"):
        load_scenario(str(large))
    with pytest.raises(ScenarioInvalid, match="name a YAML file or one of bad-day, calm"):
        load_scenario("stormy")
