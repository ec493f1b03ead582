"""Policies as people write them: read whole, or refused whole with everything that is wrong in them."""

import pytest

from app.governance.policy.loading import LIMITS, PolicyInvalid, load_policy
from app.governance.policy.models import MOST_RULES, Effect, FactKind, Mode

RULE = "  - {{name: {name}, applies_to: [{kinds}], when: '{when}', decide: deny}}\n"


def rule(when: str, *, kinds: str = "task", name: str = "it") -> str:
    return "version: 1\nrules:\n" + RULE.format(name=name, kinds=kinds, when=when.replace("'", "''"))


def told_of(text: str | bytes) -> list[str]:
    with pytest.raises(PolicyInvalid) as refused:
        load_policy(text)
    return [f"{one.line}:{one.column}: {one.path}: {one.told}" for one in refused.value.problems]


def test_a_policy_says_what_holds_where_nothing_else_is_written() -> None:
    policy = load_policy("version: 1")

    document = policy.document
    assert (document.default, document.mode, document.rules) == (Effect.ALLOW, Mode.FIRST_MATCH, [])
    assert policy.batches == dict.fromkeys(FactKind, ())


def test_the_digest_changes_with_what_a_policy_means_and_not_with_how_it_is_written() -> None:
    one = load_policy("version: 1\ndefault: deny # nobody\n")

    assert load_policy('{"default": "deny", "version": 1}').digest == one.digest
    assert load_policy("version: 1\ndefault: allow").digest != one.digest


def test_all_problems_are_told_at_once_each_with_its_place_and_its_fix() -> None:
    text = """version: 1
defualt: deny
rules:
  - name: first
    applies_to: [task]
    when: task.priorty > 3
    decide: forbid
  - name: second
    applies_to: [task, tool]
    when: tool.name == "shell"
    decide: deny
  - name: second
    applies_to: [step]
    decide: deny
    approval: {}
  - name: second
    applies_to: [step]
    when: spend.usd > 5
    decide: deny
"""

    told = told_of(text)

    mixed = (
        "found no matching overload for '_>_' applied to '(double, int)': "
        "write numbers that are compared with a fraction with a point, as in 5.0"
    )
    assert told == [
        "2:1: defualt: there is no key 'defualt' here: did you mean 'default'?",
        "6:5: rules[0].when: there is no fact `task.priorty`: did you mean `task.priority`?",
        "7:5: rules[0].decide: it must be 'allow', 'require_approval' or 'deny'",
        "10:5: rules[1].when: `tool.name` is not known of a task: let the rule apply to tool only",
        "12:5: rules[2]: a rule that decides deny has no use for `approval`; remove it",
        "16:5: rules[3].name: rule 2 has this name already: give each rule its own",
        f"18:5: rules[3].when: at character 11: {mixed}",
    ]


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("task.priorty > 3", "there is no fact `task.priorty`: did you mean `task.priority`?"),
        ("environment.path == 'a'", "there is no fact `environment.path`: there are task.id"),
        ("task", "there is no fact `task`"),
        ("task.text", "it does not give true or false: compare it with something"),
        ("task.priority == 'high'", "found no matching overload"),
        ("has(task.text)", "`task.text` is no member that can be tested for: leave the test out"),
        ("has(scores.risk) && scores.risk > 0.5", "ask `scores.available`"),
        ("task.text ==", "Syntax error"),
        ("true), (false", "at character 5"),
        ("+".join(["1"] * 100) + " > 1", "nested too deeply"),
        ("task.priority > 1" + " " * 2000, "at most 2000 characters"),
        ("task.text.replace('a', task.text) == 'b'", "it would read or make too much"),
        ("[1].map(a, [2].map(b, [3].map(c, [4].map(d, [5].map(e, e))))).size() == 1", "and 4 are allowed"),
        (
            "task.inputs.exists(x, task.inputs.exists(y, x + y + task.text == task.text))",
            "it would read or make too much",
        ),
        ("task.metadata.map(k, k)[0] == 'a'", "`map` and `filter` of `task.metadata` may depend on an order"),
        ("task.metadata.list.filter(k, k == 1).size() > 1", "use `exists`, `exists_one` or `all`"),
    ],
)
def test_a_condition_that_could_not_be_decided_in_time_is_refused(when: str, reason: str) -> None:
    (told,) = told_of(rule(when))

    assert reason in told


def test_the_condition_of_a_rule_that_is_wrong_otherwise_is_checked_as_well() -> None:
    told = told_of("version: 1\nrules:\n  - {name: é, applies_to: [task], when: task.foo == 1, decide: maybe}")

    assert [problem.split(": ")[1] for problem in told] == ["rules[0].name", "rules[0].when", "rules[0].decide"]


def test_conditions_that_cost_too_much_only_together_are_refused() -> None:
    when = " || ".join(f'task.text.contains("{word}")' for word in "abcdefgh")
    rules = "".join(RULE.format(name=f"r{number}", kinds="task", when=when) for number in range(150))

    (told,) = told_of(f"version: 1\nrules:\n{rules}")

    assert "together the conditions would read or make too much" in told


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a policy is a mapping"),
        ("- a", "a policy is a mapping"),
        ("version: 1\nversion: 1", "twice"),
        ("version: 2", "version"),
        ("a: &a [*a]", ""),
        ("version: 1\nrules: " + "[" * 40 + "]" * 40, "nested too deeply"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * (LIMITS.size + 1), "larger than"),
        ("version: 1\nauto_approve: {}", "at least one of risk_below, cost_below"),
        ("version: 1\nauto_approve: {risk_below: 1.5}", "less than or equal to 1"),
        ("version: 1\napproval: {quorum: 0}", "greater than or equal to 1"),
    ],
)
def test_what_is_no_policy_is_refused(text: str | bytes, reason: str) -> None:
    assert any(reason in told for told in told_of(text))


def test_too_many_rules_are_refused() -> None:
    rules = "".join(RULE.format(name=f"r{number}", kinds="tool", when="true") for number in range(MOST_RULES + 1))

    assert any("500" in told for told in told_of(f"version: 1\nrules:\n{rules}"))


def test_a_rule_that_is_never_asked_is_a_problem_where_the_first_match_decides() -> None:
    rules = """rules:
  - {name: all, applies_to: [task, tool], decide: allow}
  - {name: never, applies_to: [tool], when: 'tool.name == "a"', decide: deny}
  - {name: steps, applies_to: [tool, step], when: 'agent.name == "a"', decide: deny}
"""

    (told,) = told_of(f"version: 1\n{rules}")

    assert told.startswith("4:5: rules[1]: it is never asked: rule 'all' stands before it and always applies: put it")
    assert len(load_policy(f"version: 1\nmode: deny-overrides\n{rules}").document.rules) == 3
