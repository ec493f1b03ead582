"""Random workflows that could have been loaded: every need and every reference is there, and nothing is circular.

They are written from a seed: drawn value by value, as Hypothesis can, each would take a hundred times as long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from app.workflows.language.models import Workflow
from app.workflows.plan import Plan, compile_plan
from tests.workflow_builders import expression, template

DEEPEST = 3
LEAVES = ("agent", "agent", "agent", "workflow")
STRUCTURES = ("steps", "loop", "switch")
Reference = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Documents:
    """A workflow and those that it calls, by name."""

    workflow: Workflow
    parts: dict[str, Workflow]

    def plan(self) -> Plan:
        plans: dict[str, Plan] = {}
        for name, part in self.parts.items():
            plans[name] = compile_plan(part, name, dict(plans))
        return compile_plan(self.workflow, "digest", plans)


@dataclass(slots=True)
class Writer:
    """Writes a document. ``seen`` are references that expressions may hold at a place, as their parts."""

    random: Random
    callable: list[str] = field(default_factory=list)
    names: Iterator[str] = field(default_factory=lambda: (f"s{number}" for number in count(1)))

    def one_of(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def chance(self, one_in: int) -> bool:
        return self.random.randint(1, one_in) == one_in

    def document(self, name: str, *, most: int) -> Workflow:
        seen: list[Reference] = [("inputs", "number"), ("run", "id")]
        inputs = {"number": {"type": "integer", "default": 3}}
        document: dict[str, Any] = {"version": 1, "name": name, "inputs": inputs}
        document["vars"] = {"v": template(self.value(seen)), "w": template(self.value([*seen, ("vars", "v")]))}
        seen += [("vars", "w")]
        document["steps"] = self.steps(seen, most=most, depth=0)
        outputs: list[Reference] = [("steps", step, "output") for step in document["steps"]]
        document["outputs"] = {"o": template(self.value(outputs)), "p": template(self.value(outputs))}
        if self.chance(2):
            ending = [*seen, *outputs, ("run", "succeeded"), ("run", "error")]
            document["finally"] = self.steps(ending, most=2, depth=1)
        return Workflow.model_validate(document)

    def steps(self, seen: list[Reference], *, most: int, depth: int) -> dict[str, Any]:
        names = [next(self.names) for _ in range(self.random.randint(1, most))]
        before: dict[str, set[str]] = {}
        steps: dict[str, Any] = {}
        for name in self.random.sample(names, len(names)):
            needs = sorted({self.one_of(list(before)) for _ in range(self.one_of([0, 1, 1, 2])) if before})
            before[name] = set(needs).union(*(before[need] for need in needs))
            visible = [
                ("steps", need, part) for need in sorted(before[name]) for part in ("output", "output", "status")
            ]
            steps[name] = {"needs": needs, **self.step([*seen, *visible], depth)}
        return {name: steps[name] for name in names}

    def step(self, seen: list[Reference], depth: int) -> dict[str, Any]:
        step: dict[str, Any] = {}
        if self.chance(5):
            step["if"] = self.condition(seen)
        if self.chance(4):
            step["on_error"] = self.one_of(["continue", {"fallback": template(self.value(seen[:2]))}])
        if self.chance(4):
            step |= self.repetition(seen)
            seen = [*seen, ("item",), ("one",)] if "as" in step else [*seen, ("item",)]
        kinds = LEAVES if depth >= DEEPEST else (*LEAVES, *STRUCTURES)
        kind = self.one_of([one for one in kinds if one != "workflow" or self.callable])
        return {**step, **self.kind(kind, seen, depth)}

    def repetition(self, seen: list[Reference]) -> dict[str, Any]:
        items = "".join(f", {self.value(seen)}" for _ in range(self.random.randint(0, 4)))
        lists = f'["list"{items}]'
        found: dict[str, Any] = {"for_each": template(self.one_of([lists, lists, lists, self.value(seen)]))}
        found |= self.one_of([{}, {"max_parallel": 1}, {"max_parallel": 2}])
        found |= self.one_of([{}, *({"on_item_error": policy} for policy in ("fail", "continue", "collect"))])
        return {**found, **self.one_of([{}, {"as": "one"}])}

    def kind(self, kind: str, seen: list[Reference], depth: int) -> dict[str, Any]:
        if kind == "agent":
            return {"agent": "worker", "with": {"x": template(self.value(seen))}}
        if kind == "workflow":
            number = {"number": template(self.value(seen))} if self.chance(2) else {}
            return {"workflow": self.one_of(self.callable), "with": number}
        if kind == "steps":
            return {"steps": self.steps(seen, most=3, depth=depth + 1)}
        return self.loop(seen, depth) if kind == "loop" else self.switch(seen, depth)

    def loop(self, seen: list[Reference], depth: int) -> dict[str, Any]:
        inside = [*seen, ("loop", "iteration"), ("loop", "previous")]
        steps = self.steps(inside, most=2, depth=depth + 1)
        after = [*inside, *(("steps", name, "output") for name in steps)]
        exhausted = self.one_of(["fail", "continue", {"output": {"x": template(self.value(after))}}])
        loop = {"until": self.condition(after), "max_iterations": self.one_of([1, 2, 3]), "on_exhausted": exhausted}
        return {"loop": loop, "steps": steps}

    def switch(self, seen: list[Reference], depth: int) -> dict[str, Any]:
        cases = self.one_of([["0", "1"], ["true", "false", "0"], ["2"]])
        step: dict[str, Any] = {"switch": self.one_of([f'["mod", {self.value(seen)}]', self.condition(seen)])}
        step["cases"] = {case: {"steps": self.steps(seen, most=2, depth=depth + 1)} for case in cases}
        return {**step, "else": {"steps": self.steps(seen, most=1, depth=depth + 1)}} if self.chance(2) else step

    def value(self, seen: list[Reference]) -> str:
        reference = expression("ref", *self.one_of(seen))
        return str(self.one_of([reference] * 8 + [f'["mod", {reference}]', "7", '["fail"]']))

    def condition(self, seen: list[Reference]) -> str:
        even = f'["even", {self.value(seen)}]'
        return str(self.one_of([even, even, even, "true", "false", self.value(seen)]))


def documents(seed: int) -> Documents:
    random, parts = Random(seed), dict[str, Workflow]()
    for name in ("inner", "outer"):
        parts[name] = Writer(random, list(parts)).document(name, most=2)
    return Documents(Writer(random, list(parts)).document("whole", most=5), parts)
