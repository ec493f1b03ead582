"""Whether the steps of a body can be put in order, and whether the document stays within its limits."""

from collections.abc import Iterator, Mapping

from app.workflows.language.checks.findings import Findings, Path, nearest
from app.workflows.language.models import MOST_STEPS, Step, Workflow

DEEPEST = 16
# `finally.STEP` names the steps of a `finally`.
_TAKEN = frozenset({"finally"})

Body = Mapping[str, Step]


def bodies_of(step: Step) -> Iterator[tuple[Path, Body]]:
    """The bodies that a step opens, with their places in it."""
    if step.steps is not None:
        yield ("steps",), step.steps
    for value, case in (step.cases or {}).items():
        yield ("cases", value, "steps"), case.steps
    if step.else_ is not None:
        yield ("else", "steps"), step.else_.steps


def steps_in(body: Body, path: Path) -> Iterator[tuple[Path, Step]]:
    """Every step of a body and below."""
    for name, step in body.items():
        yield (*path, name), step
        for place, inner in bodies_of(step):
            yield from steps_in(inner, (*path, name, *place))


def is_within_limits(workflow: Workflow, found: Findings) -> bool:
    """Whether the rest can be looked at."""
    total = sum(1 for key, body in workflow.bodies().items() for _ in steps_in(body, (key,)))
    if total > MOST_STEPS:
        found.add(("steps",), f"there are {total} steps, and {MOST_STEPS} are allowed", "move some to a sub-workflow")
    depth, path = max(_depths(workflow), key=lambda one: one[0])
    if depth > DEEPEST:
        fix = "move the inner ones to a sub-workflow"
        found.add(path, f"steps are nested {depth} levels deep, and {DEEPEST} are allowed", fix)
    return total <= MOST_STEPS and depth <= DEEPEST


def _depths(workflow: Workflow) -> Iterator[tuple[int, Path]]:
    for key, body in workflow.bodies().items():
        waiting: list[tuple[int, Path, Body]] = [(1, (key,), body)]
        while waiting:
            depth, path, steps = waiting.pop()
            yield depth, path
            for name, step in steps.items():
                waiting.extend((depth + 1, (*path, name, *place), inner) for place, inner in bodies_of(step))


def check_names(body: Body, path: Path, around: frozenset[str], found: Findings) -> None:
    for name in body:
        if name in _TAKEN:
            found.add((*path, name), f"a step cannot be named `{name}`", "choose another name")
        if name in around:
            fix = "choose another name; expressions could not tell them apart"
            found.add((*path, name), f"there is a step `{name}` around this one already", fix)


def check_needs(body: Body, path: Path, found: Findings) -> None:
    for name, step in body.items():
        seen: set[str] = set()
        for place, need in enumerate(step.needs):
            if found.is_full:
                return
            at = (*path, name, "needs", place)
            if need == name:
                found.add(at, f"step `{name}` needs itself", "remove it")
            elif need not in body:
                found.add(at, f"there is no step `{need}` beside `{name}`", nearest(need, set(body) - {name}))
            elif need in seen:
                found.add(at, f"`{need}` is there twice", "remove one")
            seen.add(need)
    if cycle := _cycle(body):
        text = " → ".join((*cycle, cycle[0]))
        found.add((*path, cycle[0], "needs"), f"steps need each other in a circle: {text}", "remove one of these needs")


def _cycle(body: Body) -> list[str] | None:
    """One circle, without recursion: a chain may be as long as the document."""
    done: set[str] = set()
    for start in body:
        trail: dict[str, Iterator[str]] = {}
        waiting = [start]
        while waiting:
            name = waiting[-1]
            if name not in trail:
                trail[name] = iter([need for need in body[name].needs if need in body and need != name])
            following = next((need for need in trail[name] if need not in done), None)
            if following is None:
                done.add(waiting.pop())
                del trail[name]
            elif following in trail:
                return waiting[waiting.index(following) :]
            else:
                waiting.append(following)
    return None


def closures(body: Body) -> dict[str, int]:
    """For each step the steps it needs, directly or not, as bits by their place in the body."""
    places = {name: place for place, name in enumerate(body)}
    found: dict[str, int] = {}
    for start in body:
        waiting = [start]
        # What is on the way is there with what is known so far, so that circles end.
        while waiting:
            name = waiting[-1]
            needs = [need for need in body[name].needs if need in places]
            missing = [need for need in needs if need not in found]
            if missing and name not in found:
                found[name] = 0
                waiting.extend(missing)
                continue
            waiting.pop()
            found[name] = 0
            for need in needs:
                found[name] |= found.get(need, 0) | 1 << places[need]
    return found
