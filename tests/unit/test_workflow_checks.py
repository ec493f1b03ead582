"""What a document means: everything that is wrong is found, with its place and the fix."""

import time
from collections.abc import Mapping
from textwrap import dedent, indent
from typing import Any

import pytest

from app.agents.registry import Registry
from app.source_problems import Positions, Problem
from app.workflows.language.checks.document import check_workflow, needs_commands
from app.workflows.language.models import Workflow
from app.workflows.language.source import read_document

AGENTS = Registry()
HEAD = """
version: 1
name: sample
inputs:
  text: {type: string}
  count: {type: integer, default: 1}
  flag: {type: boolean, default: false}
  mood: {type: string, enum: [good, bad], default: good}
  list: {type: array, items: {type: object, properties: {id: {type: integer}}}, default: []}
  loose: {type: any, default: null}
"""
# Short for what many documents below have.
WORDS = {"STEPS": "{b: {agent: echo}}", "ECHO": "{agent: echo}", "CHECKS": "checks: [{type: no_secrets}]"}
JUDGE = "judge: {agent: echo, output: {score: {type: number}, words: {type: array, items: {type: string}}}}"

EVERYTHING = """
vars: {twice: "${{ inputs.count * 2 }}", more: "${{ vars.twice + 1 }}"}
budget: {usd: 1.0}
steps:
  judge:
    agent: echo
    if: inputs.mood in ["good", "bad"] && inputs.count >= 0.5
    budget: {usd: 0.5}
    output: {score: {type: number}, words: {type: array, items: {type: string}}}
    artifacts: {score: "${{ steps.judge.output.score }}"}
  each:
    needs: [judge]
    for_each: "${{ inputs.list }}"
    as: row
    agent: echo
    with: {text: "${{ row.id }} and ${{ item.id }} of ${{ inputs.text }}"}
    on_error: {fallback: []}
  rounds:
    needs: [judge]
    loop: {until: steps.mend.output.ok == true || loop.iteration > 2, max_iterations: 3}
    steps:
      mend: {transform: {ok: "${{ loop.previous.mend.ok }}", score: "${{ steps.judge.output.score }}"}}
  choose:
    needs: [rounds]
    switch: inputs.mood
    cases:
      good: {steps: {reply: {transform: {text: "${{ steps.rounds.output.mend.ok }}"}}}}
      bad: {steps: {reply: {approval: {approvers: [ann, bob], quorum: 2}}}}
  wait: {wait: {until: "2030-01-01T00:00:00Z"}}
  check: {needs: [judge], evaluate: {step: judge, checks: [{type: no_secrets}], on_fail: retry, max_rounds: 2}}
  build: {command: [make, "${{ inputs.text }}"], env: {LANG: C}, secrets: [TOKEN], timeout: 60s}
  group: {steps: {inner: {emit: done, with: {text: "${{ inputs.text }}"}}}}
outputs:
  text: "${{ steps.choose.output.reply.text }}"
  code: "${{ steps.build.output.exit_code }}"
finally:
  tell: {emit: ended, with: {ok: "${{ run.succeeded }}", why: "${{ run.error.message }}"}}
  after: {emit: ended, with: {status: "${{ steps.judge.status }}"}}
"""


def document(body: str) -> Workflow:
    return Workflow.model_validate(read_document(HEAD + dedent(body), source="sample").value)


def problems_of(body: str, parts: Mapping[str, Workflow] | None = None) -> list[Problem]:
    for word, meaning in WORDS.items():
        body = body.replace(word, meaning)
    tree = read_document(HEAD + dedent(body), source="sample")
    workflow = Workflow.model_validate(tree.value)
    return check_workflow(workflow, Positions(tree.places), AGENTS, parts or {})


def problems_of_steps(steps: str) -> list[Problem]:
    return problems_of("steps:\n" + indent(dedent(steps).strip(), "  "))


def told(problems: list[Problem]) -> list[str]:
    return [f"{one.path}: {one.told}" for one in problems]


def test_a_document_that_uses_everything_has_no_problems() -> None:
    assert told(problems_of(EVERYTHING)) == []


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        # needs
        ("a: ECHO\nb: {agent: echo, needs: [aa]}", "steps.b.needs[0]: there is no step `aa` beside `b`"),
        ("sentiment: ECHO\nb: {agent: echo, needs: [sentimnet]}", "did you mean `sentiment`?"),
        ("a: {agent: echo, needs: [a]}", "steps.a.needs[0]: step `a` needs itself"),
        ("a: ECHO\nb: {agent: echo, needs: [a, a]}", "steps.b.needs[1]: `a` is there twice"),
        (
            "a: {agent: echo, needs: [c]}\nb: {agent: echo, needs: [a]}\nc: {agent: echo, needs: [b]}",
            "steps.a.needs: steps need each other in a circle: a → c → b → a",
        ),
        ("finally: ECHO", "a step cannot be named `finally`"),
        ("a: {steps: {a: ECHO}}", "steps.a.steps.a: there is a step `a` around this one already"),
        # references
        ("a: ECHO\nb: {transform: {x: '${{ steps.a.output }}'}}", "add `a` to `needs`"),
        ("a: {transform: {x: '${{ steps.zz.output }}'}}", "steps.a.transform.x: there is no step `zz` here"),
        ("a: {transform: {x: '${{ steps.a.output }}'}}", "step `a` need not have ended here"),
        ("a: {steps: {b: ECHO}}\nc: {needs: [a], if: steps.b.status == 'x', agent: echo}", "no step `b` here"),
        ("a: {transform: {x: '${{ inputs.txt }}'}}", "there is no input `txt`: did you mean `text`?"),
        ("a: {transform: {x: '${{ vars.x }}'}}", "there is no variable `x`"),
        ("a: {transform: {x: '${{ run.succeeded }}'}}", "known in `finally` only"),
        ("a: {transform: {x: '${{ inputs.list.id }}'}}", "`inputs.list` is a list and has no `id`: take an item"),
        ("a: {transform: {x: '${{ inputs.list[0].idd }}'}}", "no member of `inputs.list[0]` `idd`: did you mean `id`?"),
        ("a: {transform: {x: '${{ inputs.text[0] }}'}}", "`inputs.text` is not a list"),
        (f"{JUDGE}\nb: {{needs: [judge], if: steps.judge.output.scor > 1, agent: echo}}", "did you mean `score`?"),
        (f"{JUDGE}\nb: {{needs: [judge], if: steps.judge.score > 1, agent: echo}}", "write `steps.judge.output.score`"),
        ("a: {transform: {x: 1}}\nb: {needs: [a], if: steps.a.output.y == 1, agent: echo}", "`y`: there are x"),
        (
            "a: {for_each: '${{ inputs.list }}', agent: echo}\nb: {needs: [a], if: steps.a.output.x == 1, agent: echo}",
            "is a list and has no `x`",
        ),
        ("a: {agent: echo, if: text == 'x'}", "`text` is an input: write `inputs.text`"),
        ("a: ECHO\nb: {needs: [a], agent: echo, if: a.x == 1}", "`a` is a step: write `steps.a.output`"),
        ("a: {agent: echo, with: {k: '${{ secrets.KEY }}'}}", "secrets are not seen by expressions"),
        ("a: {agent: echo, with: {k: '${{ env.HOME }}'}}", "the environment is not seen by expressions"),
        ("a: {agent: echo, with: {k: '${{ item.x }}'}}", "`item` is there in steps with for_each only"),
        ("a: {agent: echo, with: {k: '${{ loop.iteration }}'}}", "`loop` is there in the steps of a loop only"),
        ("a: {agent: echo, if: item.x == 1, for_each: '${{ inputs.list }}'}", "`item` is there in steps with for_each"),
        (
            "a: {loop: {until: 'true', max_iterations: 2}, steps: {b: {if: loop.previous.c.x == 1, agent: echo}}}",
            "no member of `loop.previous` `c`: there are b",
        ),
        ("a: {for_each: '${{ inputs.list }}', transform: {x: '${{ item.name }}'}}", "no member of `item` `name`"),
        # expressions and types
        ("a: {agent: echo, if: 'inputs.count +'}", "at character 15"),
        ("a: {agent: echo, if: '${{ inputs.flag }}'}", "this is an expression already"),
        ("a: {agent: echo, with: {x: 'a ${{ inputs.text'}}", "`${{` is not closed"),
        ("a: {agent: echo, if: inputs.count}", "steps.a.if: it gives integer, and has to give true or false"),
        ("a: {agent: echo, if: 'false'}", "the step never runs"),
        ("a: {agent: echo, if: inputs.mood == 'god'}", "`inputs.mood` is never 'god': did you mean `good`?"),
        ("a: {agent: echo, if: 'inputs.mood in [\"good\", \"sad\"]'}", "`inputs.mood` is never 'sad'"),
        ("a: {agent: echo, if: inputs.count == 'x'}", "number is compared with string: that is always the same"),
        ("a: {agent: echo, if: inputs.text > 1}", "string is compared with number: that fails"),
        ("a: {agent: echo, for_each: '${{ inputs.text }}'}", "for_each goes over string, and needs a list"),
        ("a: {agent: echo, for_each: 'all'}", "one expression that gives a list"),
        ("a: {agent: echo, for_each: 'a ${{ inputs.list }}'}", "one expression that gives a list"),
        # structure
        ("a: {switch: inputs.mood, cases: {good: {steps: {b: ECHO}}}}", "there is no case for bad"),
        (
            "a: {switch: inputs.flag, cases: {yes: {steps: {b: ECHO}}}, else: {steps: {b: ECHO}}}",
            "the value is never `yes`",
        ),
        (
            "a: {switch: inputs.flag, cases: {'true': {steps: STEPS}, 'false': {steps: STEPS}}, else: {steps: STEPS}}",
            "this is never reached",
        ),
        ("a: {switch: inputs.text, cases: {x: {steps: {b: ECHO}}}}", "add `else`"),
        ("a: {switch: inputs.list, cases: {x: {steps: {b: ECHO}}}}", "not a list or an object"),
        ("a: {switch: inputs.text}", "a switch has `cases`"),
        ("a: {loop: {until: 'false', max_iterations: 2}, steps: {b: ECHO}}", "the loop is never done"),
        ("a: {agent: echo, for_each: '${{ inputs.list }}', as: loop}", "`loop` is a reserved word"),
        ("a: {agent: echo, for_each: '${{ inputs.list }}', as: steps}", "`steps` means something else"),
        # kinds
        ("a: {agent: echo, as: row}", "`as` belongs to `for_each`"),
        ("a: {approval: {}, retry: {max_attempts: 2}}", "`retry` means nothing on a step with `approval`"),
        ("a: {approval: {}, timeout: 60s}", "use `expires_in`"),
        ("a: {agent: echo, secrets: [KEY]}", "`secrets` means nothing on a step with `agent`"),
        ("a: {agent: echo, cases: {x: {steps: {b: ECHO}}}}", "`cases` means nothing"),
        ("a: {approval: {approvers: [ann], quorum: 2}}", "2 have to approve, and there are 1 approvers"),
        ("a: {approval: {approvers: [ann, ann]}}", "an approver is there twice"),
        ("a: {approval: {on_expiry: approve}}", "it never expires"),
        ("a: ECHO\nb: {evaluate: {step: a, CHECKS}}", "add it to `needs`: [a]"),
        ("a: ECHO\nb: {needs: [a], evaluate: {step: a}}", "give at least one check or a rubric"),
        ("a: ECHO\nb: {needs: [a], evaluate: {step: a, checks: [{type: nope}]}}", "steps.b.evaluate.checks[0]"),
        (
            "a: {transform: {x: 1}}\nb: {needs: [a], evaluate: {step: a, CHECKS, on_fail: retry}}",
            "cannot be asked again",
        ),
        ("a: ECHO\nb: {needs: [a], evaluate: {step: a, CHECKS, max_rounds: 2}}", "on_fail: retry"),
        ("a: {wait: {until: tomorrow}}", "this is not a point in time"),
        ("a: {wait: {until: '2030-01-01T00:00:00'}}", "has no time zone"),
        ("a: {agent: echo, retry: {initial: 2m}}", "the first pause is longer than the longest"),
        ("a: {agent: echo, retry: {on: [timeout, timeout]}}", "an error class is there twice"),
        # agents
        ("a: {agent: eco}", "there is no agent `eco`: did you mean `echo`?"),
        ("a: {agent: '${{ inputs.text }}'}", "the agent has to be named"),
        ("a: {agent: text, with: {txt: hello}}", "the agent takes no `txt`: did you mean `text`?"),
        ("a: {agent: text, with: {operation: paint, text: hi}}", "steps.a.with.operation: the agent does not take"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_fix(steps: str, problem: str) -> None:
    found = told(problems_of_steps(steps))

    assert len(found) == 1, found
    assert problem in found[0]


def test_what_is_right_is_not_refused() -> None:
    found = problems_of_steps(
        """
        a: ECHO
        b: {needs: [a], agent: echo, if: steps.a.output.anything.at.all > 1}
        c: {needs: [b], agent: echo, if: steps.a.output.x == null && inputs.loose.x == 1}
        d: {needs: [c], agent: text, with: {task: "Is it good?", text: "${{ inputs.text }}"}}
        e: {needs: [d], switch: steps.d.output.label, cases: {x: {steps: {y: ECHO}}}, else: {steps: {y: ECHO}}}
        f: {needs: [e], if: "steps.e.output.y != null", agent: echo}
        g:
          for_each: "${{ inputs.list.filter(one, one.id > 1) }}"
          agent: echo
          with: {id: "${{ item.id }}"}
          on_item_error: collect
        h: {needs: [g], if: "steps.g.output.all(one, one.ok)", agent: echo}
        i: {needs: [g], agent: echo, idempotency_key: "${{ steps.g.output[0].output.x }}"}
        """
    )

    assert told(found) == []


def test_all_problems_are_told_at_once_with_line_and_column() -> None:
    body = "steps:\n  a: {agent: eco}\n  b:\n    needs: [c]\n    agent: echo\n    if: inputs.txt == 'x'\n"
    first = (HEAD + body).splitlines().index("  a: {agent: eco}") + 1

    places = [(one.path, one.line, one.column) for one in problems_of(body)]

    assert sorted(places) == [
        ("steps.a.agent", first, 7),
        ("steps.b.if", first + 4, 5),
        ("steps.b.needs[0]", first + 2, 13),
    ]


def test_outputs_and_finally_see_all_steps_and_vars_only_those_before() -> None:
    found = problems_of(
        """
        vars: {a: "${{ vars.b }}", b: 1}
        steps: {one: {agent: echo}}
        outputs: {x: "${{ steps.two.output }}"}
        finally:
          one: {agent: echo}
          end: {needs: [one], emit: e, with: {x: "${{ steps.one.output.y }}", z: "${{ run.nope }}"}}
        """
    )

    assert [one.path for one in found] == ["vars.a", "outputs.x", "finally.one", "finally.end.with.z"]


def test_a_step_may_not_have_more_budget_than_the_whole() -> None:
    found = problems_of("budget: {usd: 1.0}\nsteps: {a: {agent: echo, budget: {usd: 2.0, tokens: 5}}}")

    assert [one.path for one in found] == ["steps.a.budget.usd"]


def test_a_call_gives_what_the_called_workflow_takes_and_takes_what_it_gives() -> None:
    called = Workflow.model_validate(
        {
            "version": 1,
            "name": "called",
            "inputs": {"topic": {"type": "string"}, "depth": {"type": "integer", "default": 1}},
            "steps": {"a": {"agent": "echo"}},
            "outputs": {"answer": "${{ steps.a.output.text }}"},
        }
    )
    steps = """
    steps:
      right: {workflow: called, with: {topic: "${{ inputs.text }}", depth: 2}}
      wrong: {needs: [right], workflow: called, with: {topik: x, depth: deep}, if: steps.right.output.answr == 'x'}
    """

    found = told(problems_of(steps, {"called": called}))

    assert [one.split(":")[0] for one in found] == [
        "steps.wrong.with.topik", "steps.wrong.with.depth", "steps.wrong.with", "steps.wrong.if",
    ]  # fmt: skip
    assert "did you mean `answer`?" in found[-1]


def test_steps_are_nested_sixteen_levels_deep_at_most() -> None:
    def nested(levels: int) -> dict[str, Any]:
        step: dict[str, Any] = {"agent": "echo"}
        for level in range(levels - 1):
            step = {"steps": {f"s{level}": step}}
        return {"version": 1, "name": "deep", "steps": {"top": step}}

    def found(levels: int) -> list[Problem]:
        return check_workflow(Workflow.model_validate(nested(levels)), Positions.nowhere(), AGENTS, {})

    assert found(16) == []
    assert ["17 levels deep" in one.message for one in found(17)] == [True]


def test_a_document_has_two_thousand_steps_at_most_wherever_they_are() -> None:
    group = {"steps": {f"s{place}": {"agent": "echo"} for place in range(1100)}}
    workflow = Workflow.model_validate({"version": 1, "name": "wide", "steps": {"a": group, "b": group}})

    found = check_workflow(workflow, Positions.nowhere(), AGENTS, {})

    assert ["2202 steps" in one.message for one in found] == [True]


def test_a_chain_of_two_thousand_steps_is_checked_without_recursion() -> None:
    steps: dict[str, Any] = {"s0": {"agent": "echo"}}
    steps |= {f"s{place}": {"agent": "echo", "needs": [f"s{place - 1}"]} for place in range(1, 2000)}
    steps["s1999"]["if"] = "steps.s0.output.x == 1"
    workflow = Workflow.model_validate({"version": 1, "name": "chain", "steps": dict(reversed(steps.items()))})

    assert check_workflow(workflow, Positions.nowhere(), AGENTS, {}) == []


def test_without_a_catalogue_agents_are_not_looked_at() -> None:
    workflow = document("steps: {a: {agent: nobody}}")

    assert check_workflow(workflow, Positions.nowhere(), None, {}) == []


def test_steps_that_run_programs_are_found_wherever_they_are() -> None:
    workflow = document("steps: {a: {command: [ls]}, b: {steps: {c: {command: [ls]}}}, d: {agent: echo}}")

    assert needs_commands(workflow) == ["steps.a", "steps.b.steps.c"]


@pytest.mark.parametrize(
    "steps",
    [
        {f"s{place}": {"agent": "echo", "needs": [f"n{other}" for other in range(500)]} for place in range(400)},
        {f"s{place}": {"transform": {"x": "${{ steps.nope.output }} " * 50}} for place in range(1000)},
        {f"step_{place}": {"agent": "echo", "if": f"steps.step_{place}x.output == 1"} for place in range(2000)},
    ],
    ids=["needs", "references", "names"],
)
def test_a_document_that_is_wrong_everywhere_is_refused_in_a_moment(steps: dict[str, Any]) -> None:
    workflow = Workflow.model_validate({"version": 1, "name": "wrong", "steps": steps})
    begun = time.process_time()

    found = check_workflow(workflow, Positions.nowhere(), AGENTS, {})

    assert len(found) >= 100
    assert time.process_time() - begun < 5
