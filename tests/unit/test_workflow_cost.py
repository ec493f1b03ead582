"""The bound of an expression is never below what it comes to."""

import contextlib
import json
import random
import re
from typing import Any

import pytest

from app.expressions.compiling import ExpressionInvalid
from app.expressions.cost import Extent, cost_of
from app.expressions.references import Path
from app.workflows.language.compiling import LARGEST_BOUND, MOST_WORK, compile_expression

INPUTS: dict[str, Any] = {"s": "ab", "t": "xyz" * 9, "l": ["a", "bb", "ccc"], "n": [["p", "qq"], ["r"]]}
LONGEST = {"l": 3.0, "n": 2.0}

TEXTS = ("({t} + {t})", "{t}.replace({t}, {t})", "{l}.join({t})", "({t} == {t} ? {t} : {t})", "strings.quote({t})")
LISTS = ("({l} + {l})", "{t}.split({t})", "{l}.map(v, {t})", "{l}.filter(v, {t} != {t})", "[{t}, {t}]")
LEAVES = {"t": ("inputs.s", "inputs.t", "'x'", "''", "v"), "l": ("inputs.l", "inputs.n[0]")}


def expression(source: random.Random, kind: str, depth: int) -> str:
    if not depth or source.random() < 0.3:
        return source.choice(LEAVES[kind])
    shape = source.choice(TEXTS if kind == "t" else LISTS)
    return re.sub(r"\{(t|l)\}", lambda found: expression(source, found[1], depth - 1), shape)


def extent_of(path: Path) -> Extent:
    value: Any = INPUTS
    for part in path[1:]:
        value = value[part]
    return Extent(float(len(json.dumps(value))), LONGEST.get(str(path[1]), 0.0))


@pytest.mark.parametrize("seed", range(4))
def test_a_value_is_never_larger_than_its_bound(seed: int) -> None:
    source = random.Random(seed)
    compared = 0

    for _ in range(300):
        part = expression(source, source.choice("tl"), depth=4)
        with contextlib.suppress(ExpressionInvalid):
            compiled = compile_expression(f"['seed'].map(v, {part})")
            size, work = cost_of(compiled.tree, extent_of)
            if size <= LARGEST_BOUND and work <= MOST_WORK:
                result = compiled.program.eval(data={"inputs": INPUTS}).plain_value()
                assert len(json.dumps(result, ensure_ascii=False)) <= size
                compared += 1

    assert compared > 100
