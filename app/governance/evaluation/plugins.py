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
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.errors import ExecutionError
from app.governance.evaluation.models import Subject
from app.setting_evaluation import EvaluatorName

GROUP = "agent_orchestrator.evaluators"
LONGEST_MESSAGE = 500
PASSING = 0.5
_NAME: TypeAdapter[str] = TypeAdapter(EvaluatorName)


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


class Evaluators:
    """By name. A package's evaluator is imported when it is first asked for."""

    def __init__(self, specs: Sequence[EvaluatorSpec] = ()) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._loaded: dict[str, Evaluate] = {}

    @property
    def names(self) -> list[str]:
        return sorted(self._specs)

    async def score(self, name: str, subject: Subject, options: Mapping[str, Any]) -> Score:
        """Raises `EvaluatorUnusable`: what cannot judge must not pass anything."""
        spec = self._specs.get(name)
        if spec is None:
            known = ", ".join(self.names) or "none is installed"
            raise EvaluatorUnusable(f"there is no evaluator {name!r} on the workers: {known}")
        try:
            async with asyncio.timeout(spec.timeout.total_seconds()):
                given = await self._load(spec)(subject, options)
        except TimeoutError as error:
            limit = spec.timeout.total_seconds()
            raise EvaluatorUnusable(f"evaluator {name!r} gave no score in {limit:g} s") from error
        except Exception as error:
            raise EvaluatorUnusable(f"evaluator {name!r} failed with {type(error).__name__}") from error
        return _checked(spec, given)

    def _load(self, spec: EvaluatorSpec) -> Evaluate:
        if spec.name not in self._loaded:
            module, _, attribute = spec.factory.partition(":")
            self._loaded[spec.name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[spec.name]


def load_evaluators(wanted: frozenset[str] | None = None) -> tuple[list[EvaluatorSpec], list[str]]:
    """Those of the wanted distributions (None: of all), and a sentence about each that is left out."""
    specs: dict[str, EvaluatorSpec] = {}
    broken: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        if wanted is not None and _distribution(point) not in wanted:
            continue
        try:
            for spec in _listed(point.load()):
                _check_spec(spec, specs)
                specs[spec.name] = spec
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge to foreign code: importing it runs it
            broken.append(f"{_distribution(point)} ({GROUP}: {point.name}): {type(error).__name__}: {error}"[:300])
    return list(specs.values()), broken


def _listed(loaded: Any) -> Sequence[Any]:
    return loaded if isinstance(loaded, list | tuple) else (loaded,)


def _check_spec(spec: Any, known: Mapping[str, EvaluatorSpec]) -> None:
    if not isinstance(spec, EvaluatorSpec):
        raise TypeError(f"the entry point names a {type(spec).__name__}, not an EvaluatorSpec or a list of them")
    try:
        _NAME.validate_python(spec.name)
    except ValidationError:
        raise ValueError("an evaluator's name has at most 64 letters, digits, `_`, `.` and `-`") from None
    if spec.name in known:
        raise ValueError(f"there is an evaluator {spec.name!r} already")


def _distribution(point: EntryPoint) -> str:
    return str(point.dist.name).lower().replace("_", "-") if point.dist else ""


def _checked(spec: EvaluatorSpec, given: Any) -> Score:
    if not isinstance(given, Score) or not isinstance(given.score, int | float) or not math.isfinite(given.score):
        raise EvaluatorUnusable(f"evaluator {spec.name!r} did not return a Score with a number")
    if not 0 <= given.score <= 1:
        raise EvaluatorUnusable(f"evaluator {spec.name!r} gave a score outside of 0 to 1")
    passed = given.score >= PASSING if given.passed is None else bool(given.passed)
    return Score(float(given.score), str(given.message)[:LONGEST_MESSAGE], passed)
