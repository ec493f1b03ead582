"""The published JSON Schema: what loads fits it, and what editors can see does not."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.model_keys import keys_at
from app.workflows.language.json_schema import workflow_schema
from app.workflows.language.models import Workflow
from app.workflows.language.source import read_document
from app.workflows.shelf import LIBRARY
from tests.workflow_documents import load

EVERYTHING = """
version: 1
name: everything
description: One of each.
inputs:
  text: {type: string, max_length: 100}
  items: {type: array, items: {type: string}, default: []}
  kind: {type: string, enum: [a, b]}
vars: {twice: "${{ inputs.text + inputs.text }}"}
budget: {usd: 0.5, tokens: 1000, wall_clock: 10m}
defaults:
  timeout: 1m30s
  retry: {max_attempts: 3, backoff: exponential, initial: 250ms, maximum: 60s, jitter: full, on: [timeout, rate_limit]}
steps:
  called: {agent: echo, with: {text: "${{ inputs.text }}"}, output: {summary: {type: string}}, on_error: continue}
  asked: {task: "Say ${{ inputs.text }}", on_error: {fallback: {text: nothing}}, timeout: 5s}
  approved: {approval: {approvers: [ops], quorum: 1, expires_in: 2d, form: {why: {type: string}}}}
  evaluated: {needs: [called], evaluate: {step: called, checks: [{type: no_secrets}], threshold: 0.5}}
  ran: {command: [echo, hello], env: {LANGUAGE: en}, secrets: [TOKEN]}
  computed: {transform: {n: "${{ size(inputs.text) }}"}}
  waited: {wait: {for: 1s}}
  heard: {wait: {event: order.paid, key: "${{ inputs.text }}", timeout: 1h}}
  told: {emit: done, with: {ok: true}}
  each: {for_each: "${{ inputs.items }}", as: one, max_parallel: 3, on_item_error: collect, agent: echo}
  again:
    loop: {until: "loop.iteration > 2", max_iterations: 5, on_exhausted: {output: {n: 0}}}
    steps: {inner: {agent: echo}}
  chosen:
    switch: inputs.kind
    cases: {a: {steps: {x: {agent: echo}}}}
    else: {steps: {x: {agent: echo}}}
outputs: {n: "${{ steps.computed.output.n }}"}
finally: {last: {emit: over, with: {ok: "${{ run.succeeded }}"}}}
"""


def misfits(document: Any) -> list[str]:
    found = Draft202012Validator(workflow_schema()).iter_errors(document)
    return [".".join(map(str, one.absolute_path)) for one in found]


def document_of(text: str) -> Any:
    return read_document(text, source="flow.yaml").value


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(workflow_schema())


def test_a_document_with_everything_in_it_loads_and_fits() -> None:
    assert load(EVERYTHING).workflow.name == "everything"
    assert misfits(document_of(EVERYTHING)) == []


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_library_fits(path: Path) -> None:
    assert misfits(document_of(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("written", "changed", "path"),
    [
        ("version: 1", "version: 2", "version"),
        ("name: everything", "nam: everything", ""),
        ("timeout: 5s", "timeout: 5", "steps.asked.timeout"),
        ("timeout: 5s", "timeout: 5x", "steps.asked.timeout"),
        ("on_error: continue", "on_error: {fallbak: 1}", "steps.called.on_error"),
        ("{wait: {for: 1s}}", "{wait: {fro: 1s}}", "steps.waited.wait"),
        ("type: string, max_length", "type: strng, max_length", "inputs.text.type"),
        ("max_iterations: 5, ", "", "steps.again.loop"),
        ("  told:", "  to-ld:", "steps"),
    ],
)
def test_what_an_editor_can_see_does_not_fit(written: str, changed: str, path: str) -> None:
    assert EVERYTHING.count(written) == 1
    assert path in misfits(document_of(EVERYTHING.replace(written, changed)))


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ((), {"version", "steps", "finally"}),
        (("steps", "any"), {"agent", "with", "if", "as", "else"}),
        (("steps", "any", "loop"), {"until", "max_iterations", "on_exhausted"}),
        (("steps", "any", "cases", "x", "steps", "y", "wait"), {"for", "until", "event"}),
        (("steps", "any", "on_error"), {"fallback"}),
        (("inputs", "any", "items", "properties", "any"), {"type", "one_of", "min_length"}),
        (("steps", "any", "with"), set()),
    ],
    # Sets have another order in each process, and names of tests may not.
    ids=lambda value: ".".join(sorted(value) if isinstance(value, set) else value) or "nothing",
)
def test_the_keys_that_may_stand_at_a_path_are_known(path: tuple[str | int, ...], keys: set[str]) -> None:
    found = set(keys_at(Workflow, path))

    assert keys <= found
    assert bool(keys) == bool(found)
