"""Evaluators of installed packages, by the entry points `agent_orchestrator.evaluators`.

::

    from app.governance.evaluation.plugins import EvaluatorSpec, Score

    async def is_polite(subject, options):
        polite = "please" in subject.text.lower()
        return Score(1.0 if polite else 0.0, "" if polite else "say please")

    POLITE = EvaluatorSpec("polite", "Says please.", "my_package.evaluators:is_polite")
"""

import asyncio
import importlib
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.agents.plugins import (
    EVALUATORS,
    BrokenPlugin,
    broken_plugin,
    checked_spec,
    distribution_of,
    entry_points_of,
    listed,
)
from app.errors import ExecutionError, Invalid
from app.governance.evaluation.models import Subject
from app.setting_evaluation import BUILT_IN_CHECKS, EvaluatorName

LONGEST_MESSAGE = 500
LONGEST_DESCRIPTION = 2000
LONGEST_TIMEOUT = timedelta(minutes=10)
PASSING = 0.5


@dataclass(frozen=True, slots=True)
class EvaluatorSpec:
    """`factory` is `package.module:function`, imported by workers only: an `async` function of subject and options.

    It returns a `Score`. `timeout` bounds one call.
    """

    name: str
    description: str
    factory: str
    timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Score:
    """From 0 to 1; ``message`` says to the writer what is wrong. Left out, ``passed`` is a score of at least a half."""

    score: float
    message: str = ""
    passed: bool | None = None


class EvaluatorUnusable(ExecutionError):
    """It is not installed, or not as its description says; only whoever runs the workers can help."""

    code = "EVALUATOR_UNUSABLE"
    title = "Evaluator unusable"


Evaluate = Callable[[Subject, Mapping[str, Any]], Awaitable[Score]]


@dataclass(frozen=True, slots=True)
class InstalledEvaluator:
    """`origin` is name and version of the package that brings it."""

    spec: EvaluatorSpec
    origin: str


class Evaluators:
    """By name. A package's evaluator is imported when it is first asked for."""

    def __init__(self, installed: Iterable[InstalledEvaluator] = (), broken: Iterable[BrokenPlugin] = ()) -> None:
        self._installed = {one.spec.name: one for one in installed}
        self._broken = tuple(broken)
        self._loaded: dict[str, Evaluate] = {}

    @property
    def names(self) -> list[str]:
        return sorted(self._installed)

    def list_evaluators(self) -> list[InstalledEvaluator]:
        return [self._installed[name] for name in self.names]

    def list_broken(self) -> Sequence[BrokenPlugin]:
        """Packages that are left out."""
        return self._broken

    def load_all(self) -> list[BrokenPlugin]:
        """Import every evaluator now, while nobody waits for one; answers those that cannot be."""
        found = []
        for one in self.list_evaluators():
            try:
                self._load(one.spec)
            except EvaluatorUnusable as error:
                found.append(broken_plugin(one.origin, f"evaluator {one.spec.name}", error))
        return found

    async def score(self, name: str, subject: Subject, options: Mapping[str, Any]) -> Score:
        """Raises `EvaluatorUnusable`: what cannot judge must not pass anything."""
        installed = self._installed.get(name)
        if installed is None:
            known = ", ".join(self.names) or "none is installed"
            raise EvaluatorUnusable(f"there is no evaluator {name!r} on the workers: {known}")
        spec = installed.spec
        evaluate = self._load(spec)
        try:
            async with asyncio.timeout(spec.timeout.total_seconds()) as limit:
                given = await evaluate(subject, options)
        except (Exception, SystemExit) as error:
            if limit.expired():
                seconds = f"{spec.timeout.total_seconds():g}"
                raise EvaluatorUnusable(f"evaluator {name!r} gave no score in {seconds} s") from error
            raise EvaluatorUnusable(f"evaluator {name!r} failed with {type(error).__name__}") from error
        return _checked_score(name, given)

    def _load(self, spec: EvaluatorSpec) -> Evaluate:
        if spec.name not in self._loaded:
            self._loaded[spec.name] = _function(spec)
        return self._loaded[spec.name]


def load_evaluators(wanted: frozenset[str] | None = None) -> Evaluators:
    """Those of the wanted distributions (None: of all). Imports their light modules; one that fails is left out."""
    installed: dict[str, InstalledEvaluator] = {}
    broken: list[BrokenPlugin] = []
    for point in entry_points_of((EVALUATORS,), wanted):
        origin = " ".join(distribution_of(point))
        try:
            specs = [checked_evaluator(spec) for spec in listed(point.load())]
            _refuse_repetition([*installed, *(spec.name for spec in specs)])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge to foreign code: importing it runs it
            broken.append(broken_plugin(origin, f"{EVALUATORS}: {point.name}", error))
        else:
            installed |= {spec.name: InstalledEvaluator(spec, origin) for spec in specs}
    return Evaluators(installed.values(), broken)


def checked_evaluator(spec: Any) -> EvaluatorSpec:
    """The spec with every field in its type. Raises `Invalid`."""
    checked: EvaluatorSpec = checked_spec(spec, EvaluatorSpec, _SPEC)
    try:
        _NAME.validate_python(checked.name)
    except ValidationError:
        raise Invalid("an evaluator's name has at most 64 letters, digits, `_`, `.` and `-`") from None
    if checked.name in BUILT_IN_CHECKS:
        raise Invalid(f"evaluator {checked.name!r}: this is the name of a check of the product")
    if not 1 <= len(checked.description.strip()) <= LONGEST_DESCRIPTION:
        raise Invalid(f"evaluator {checked.name!r}: the description has 1 to {LONGEST_DESCRIPTION} characters")
    if not timedelta(0) < checked.timeout <= LONGEST_TIMEOUT:
        raise Invalid(f"evaluator {checked.name!r}: the timeout is more than 0 and at most {LONGEST_TIMEOUT}")
    return checked


def _refuse_repetition(names: Sequence[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise Invalid(f"there is an evaluator {repeated[0]!r} already")


def _function(spec: EvaluatorSpec) -> Evaluate:
    module, _, attribute = spec.factory.partition(":")
    try:
        function: Evaluate = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise EvaluatorUnusable(f"cannot import {spec.factory!r} ({type(error).__name__})") from error
    if not inspect.iscoroutinefunction(function):
        raise EvaluatorUnusable(f"{spec.factory!r} is not an async function")
    return function


def _checked_score(name: str, given: Any) -> Score:
    if not isinstance(given, Score) or not isinstance(given.score, int | float) or not math.isfinite(given.score):
        raise EvaluatorUnusable(f"evaluator {name!r} did not return a Score with a number")
    if not 0 <= given.score <= 1:
        raise EvaluatorUnusable(f"evaluator {name!r} gave a score outside of 0 to 1")
    passed = given.score >= PASSING if given.passed is None else bool(given.passed)
    return Score(float(given.score), str(given.message)[:LONGEST_MESSAGE], passed)


_NAME: TypeAdapter[str] = TypeAdapter(EvaluatorName)
_SPEC: TypeAdapter[Any] = TypeAdapter(EvaluatorSpec)
