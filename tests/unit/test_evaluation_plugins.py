"""Evaluators of installed packages: found by entry point, checked, called within a time, and never believed blindly."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.agents.plugins import load_plugins
from app.governance.evaluation.models import Subject
from app.governance.evaluation.plugins import LONGEST_MESSAGE, Evaluators, EvaluatorUnusable, Score, load_evaluators
from tests.fakes.packages import add_metadata, add_module

SOURCE = """
    import asyncio
    from datetime import timedelta

    from app.governance.evaluation.plugins import EvaluatorSpec, Score

    def spec(name, function, **given):
        return EvaluatorSpec(name, given.pop("description", "Looks at it."), f"{module}:{function}", **given)

    async def polite(subject, options):
        word = options.get("word", "please")
        return Score(1.0, "fine") if word in subject.text else Score(0.2, f"say {word}")

    async def slow(subject, options):
        await asyncio.Event().wait()

    async def given(subject, options):
        return eval(subject.text, {"Score": Score, "nan": float("nan")})

    async def failing(subject, options):
        raise {"value": ValueError, "exit": SystemExit, "time": TimeoutError}[subject.text](subject.text)

    def blocking(subject, options):
        return Score(1.0)

    GOOD = [spec("polite", "polite"), spec("slow", "slow", timeout=timedelta(milliseconds=10))]
    ODD = [spec("given", "given"), spec("failing", "failing")]
    UNLOADABLE = [spec("blocking", "blocking"), spec("absent", "absent")]
    NOTHING = object()
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with one module on the path, which no other test has."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, points: Mapping[str, str], source: str = SOURCE) -> None:
        module = re.sub(r"\W", "_", f"{name}_{tmp_path.name}")
        add_module(tmp_path, module, source.replace("{module}", module))
        add_metadata(tmp_path, name, evaluators={key: f"{module}:{at}" for key, at in points.items()})

    return installed


def a_subject(text: str) -> Subject:
    return Subject("a task", text)


async def score(evaluators: Evaluators, name: str, text: str = "", **options: Any) -> Score:
    return await evaluators.score(name, a_subject(text), options)


async def test_an_installed_evaluator_scores_by_its_options(install: Install) -> None:
    install("tone-pack", {"tone": "GOOD"})

    evaluators = load_evaluators()

    assert evaluators.names == ["polite", "slow"]
    assert {one.origin for one in evaluators.list_evaluators()} == {"tone-pack 1.2.3"}
    assert evaluators.load_all() == []
    assert await score(evaluators, "polite", "please sit") == Score(1.0, "fine", passed=True)
    assert await score(evaluators, "polite", "sit", word="kindly") == Score(0.2, "say kindly", passed=False)


async def test_an_evaluator_that_gives_no_score_in_time_is_unusable(install: Install) -> None:
    install("tone-pack", {"tone": "GOOD"})

    with pytest.raises(EvaluatorUnusable, match=r"'slow' gave no score in 0\.01 s"):
        await score(load_evaluators(), "slow")


@pytest.mark.parametrize(("text", "name"), [("value", "ValueError"), ("exit", "SystemExit"), ("time", "TimeoutError")])
async def test_an_evaluator_that_fails_is_unusable_and_says_nothing_of_the_output(
    install: Install, text: str, name: str
) -> None:
    install("odd-pack", {"odd": "ODD"})

    with pytest.raises(EvaluatorUnusable) as raised:
        await score(load_evaluators(), "failing", text)

    assert raised.value.message == f"evaluator 'failing' failed with {name}"


@pytest.mark.parametrize("text", ["None", "1.0", "Score(nan)", "Score(2)", "Score(-0.1)", "Score('1')", "Score(None)"])
async def test_what_is_no_score_passes_nothing(install: Install, text: str) -> None:
    install("odd-pack", {"odd": "ODD"})

    with pytest.raises(EvaluatorUnusable, match="evaluator 'given'"):
        await score(load_evaluators(), "given", text)


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("Score(0.5)", True),
        ("Score(0.49)", False),
        ("Score(0.1, passed=True)", True),
        ("Score(1, passed=False)", False),
    ],
)
async def test_half_a_score_passes_unless_the_evaluator_says_otherwise(
    install: Install, text: str, passed: bool
) -> None:
    install("odd-pack", {"odd": "ODD"})
    evaluators = load_evaluators()

    assert (await score(evaluators, "given", text)).passed is passed
    assert len((await score(evaluators, "given", "Score(0, 'x' * 9999)")).message) == LONGEST_MESSAGE


async def test_what_cannot_be_imported_or_is_not_async_is_told_when_a_worker_starts(install: Install) -> None:
    install("torn-pack", {"torn": "UNLOADABLE"})
    evaluators = load_evaluators()

    absent, blocking = evaluators.load_all()

    assert (absent.distribution, absent.entry_point) == ("torn-pack 1.2.3", "evaluator absent")
    assert "AttributeError" in absent.reason
    assert "is not an async function" in blocking.reason
    with pytest.raises(EvaluatorUnusable, match="not an async function"):
        await score(evaluators, "blocking")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('at import')", "RuntimeError"),
        ("raise SystemExit", "SystemExit"),
        ("import nowhere_to_be_found", "no module nowhere_to_be_found"),
        ("POINT = object()", "names a object, not a EvaluatorSpec"),
        ("POINT = spec('no spaces please')", "an evaluator's name has"),
        ("POINT = spec('length')", "the name of a check of the product"),
        ("POINT = spec('a', description=' ')", "the description has 1 to 2000"),
        ("POINT = spec('a', timeout=timedelta(0))", "the timeout is more than 0"),
        ("POINT = spec('a', timeout='soon')", "timeout"),
        ("POINT = [spec('a'), spec('a')]", "there is an evaluator 'a' already"),
        ("POINT = spec('polite')", "there is an evaluator 'polite' already"),
    ],
)
def test_a_package_that_does_not_work_is_left_out_whole_and_the_others_stay(
    install: Install, source: str, reason: str
) -> None:
    header = (
        "from datetime import timedelta\n"
        "from app.governance.evaluation.plugins import EvaluatorSpec\n"
        "def spec(name, description='Looks.', **given):\n"
        "    return EvaluatorSpec(name, description, 'm:f', **given)\n"
    )
    install("a-tone-pack", {"tone": "GOOD"})
    install("b-broken-pack", {"broken": "POINT"}, header + source)

    evaluators = load_evaluators()

    assert evaluators.names == ["polite", "slow"]
    (broken,) = evaluators.list_broken()
    assert (broken.distribution, broken.entry_point) == ("b-broken-pack 1.2.3", "agent_orchestrator.evaluators: broken")
    assert reason in broken.reason


def test_only_admitted_packages_are_loaded_and_one_with_evaluators_alone_is_not_missed(install: Install) -> None:
    install("tone-pack", {"tone": "GOOD"})

    assert load_evaluators(frozenset()).names == []
    assert load_evaluators(frozenset({"tone-pack"})).names == ["polite", "slow"]
    assert load_plugins(frozenset({"tone-pack"})) == []
    assert [one.distribution for one in load_plugins(frozenset({"tone-pack", "misspelt"}))] == ["misspelt"]


async def test_an_evaluator_that_is_not_installed_on_a_worker_is_named() -> None:
    with pytest.raises(EvaluatorUnusable, match="no evaluator 'polite' on the workers: none is installed"):
        await score(Evaluators(), "polite")
