"""Labelled tasks through the router and langchain-openai against a simulator process, by `orchestrate routing test`."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from app.agents.accuracy import NO_ANSWER
from app.agents.registry import Registry
from app.cli.main import app
from app.cli.routing_cases import read_cases
from app.llm.errors import LlmAuth
from tests.processes import Server

pytestmark = pytest.mark.slow
CORPUS = sorted((Path(__file__).parents[1] / "corpus" / "routing").glob("*.yaml"))
NAMES = [spec.name for spec in Registry().list_routable()]


@pytest.fixture
def _simulated(simulator: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "simulated")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{simulator.http_url}/v1")
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    # The command logs to its standard error, which ends with it.
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers


def measured(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["routing", "test", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_corpus_covers_every_agent_and_what_is_for_none() -> None:
    cases = read_cases(CORPUS, NAMES)

    by_agent = Counter(case.expected for case in cases)
    assert len({case.task for case in cases}) == len(cases) >= 200
    assert set(by_agent) == {*NAMES, "Unknown"}
    assert min(by_agent.values()) >= 20
    assert sum("injection" in case.tags for case in cases) >= 10


@pytest.mark.usefixtures("_simulated")
def test_the_simulator_routes_the_corpus_and_no_injection_reaches_an_agent_that_is_not_listed() -> None:
    result = measured(*CORPUS, "--min-accuracy", 0.9, "--json")

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["cases"] == len(read_cases(CORPUS, NAMES))
    assert report["accuracy"] >= 0.9
    assert report["by_tag"]["injection"] >= 0.9
    assert all(one["recall"] >= 0.8 and one["precision"] >= 0.8 for one in report["classes"]), report["classes"]
    assert not {"EchoAgent", NO_ANSWER} & set(report["confusion"])
    assert report["tokens"] > 0


@pytest.mark.usefixtures("_simulated")
def test_below_the_threshold_it_fails_and_shows_what_went_wrong(tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        "- {task: Write a Python function to sort a list, agent: CodeAgent}\n"
        "- {task: Explain how vaccines work, agent: CodeAgent}\n"
        "- {task: never asked, agent: Unknown}\n"
    )

    result = measured(cases, "--limit", 2, "--min-accuracy", 0.6)

    assert result.exit_code == 1
    assert "accuracy 50.0% (1 of 2)" in result.stdout
    assert f"{cases}:2: expected CodeAgent, got ContentAgent (model_choice, " in result.stdout
    assert measured(cases, "--limit", 2, "--min-accuracy", 0.5).exit_code == 0


@pytest.mark.usefixtures("_simulated")
def test_a_case_whose_model_does_not_answer_is_wrong_also_where_nothing_was_expected(tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text('- {task: "Book a flight [[sim error=400]]", agent: Unknown}\n')

    result = measured(cases, "--json")

    assert result.exit_code == 1
    (wrong,) = json.loads(result.stdout)["wrong"]
    assert (wrong["predicted"], wrong["rule"]) == (NO_ANSWER, "LLM_ERROR")


@pytest.mark.usefixtures("_simulated")
def test_without_a_key_it_says_so_instead_of_counting_every_case_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    cases = tmp_path / "cases.yaml"
    cases.write_text("- {task: Hello, agent: Unknown}\n")

    error = measured(cases).exception

    assert isinstance(error, LlmAuth)
    assert "OPENAI_API_KEY" in error.message
