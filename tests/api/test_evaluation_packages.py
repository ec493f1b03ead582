"""Evaluators of installed packages in the whole product, and the guide that shows how to write one."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from app.cli.check import Grade
from app.cli.main import app
from app.cli.plugin_checks import check_plugins, check_policies
from app.setting_evaluation import EvaluationRequest
from app.settings import load_settings
from tests.api.harness import problem_of
from tests.api.world import StartWorld, World
from tests.architecture.markdown import read_page
from tests.architecture.tree import ROOT
from tests.fakes.packages import add_metadata, add_module

GUIDE = read_page(ROOT / "docs" / "how-to" / "evaluate-outputs.md")
ARTICLE = "Write a short article about the benefits of renewable energy"
ODD = """
    import asyncio
    from datetime import timedelta
    from app.governance.evaluation.plugins import EvaluatorSpec

    SLOW = EvaluatorSpec("slow", "Waits.", "odd_of_the_tests:wait", timedelta(milliseconds=20))
    FAILING = EvaluatorSpec("failing", "Fails.", "odd_of_the_tests:fail")

    async def wait(subject, options):
        await asyncio.Event().wait()

    async def fail(subject, options):
        raise ValueError(subject.text)
"""


def shown(language: str) -> list[str]:
    return [block.text for block in GUIDE.blocks if block.language == language]


def guided() -> list[dict[str, Any]]:
    """The evaluations that the guide shows."""
    return [body for text in shown("json") if "checks" in (body := json.loads(text))]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the guide, one that behaves badly and one that cannot be imported."""
    (source,) = shown("python")
    add_module(tmp_path, "my_tone", source)
    add_module(tmp_path, "odd_of_the_tests", ODD)
    (project,) = shown("toml")
    (point,) = re.findall(r'tone = "(.+)"', project)
    add_metadata(tmp_path, "my-tone", evaluators={"tone": point})
    odd = {"slow": "odd_of_the_tests:SLOW", "failing": "odd_of_the_tests:FAILING"}
    add_metadata(tmp_path, "odd-pack", evaluators=odd)
    add_metadata(tmp_path, "torn-pack", evaluators={"torn": "nowhere_of_the_tests:POINT"})
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def start_world(start_world: StartWorld) -> StartWorld:
    return partial(start_world, agent_plugins="all")


@pytest.fixture
async def world(packages: Path, start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world() as started:
        yield started


async def test_the_evaluator_of_the_guide_judges_a_task(world: World) -> None:
    (polite,) = [body for body in guided() if body["checks"][0]["type"] == "evaluator"]

    kind = await world.run("Could you please echo this", agent="EchoAgent", evaluation=polite)
    rude = await world.run("Echo this", agent="EchoAgent", evaluation={**polite, "on_failure": "accept"})

    (check,) = kind["result"]["evaluation"]["checks"]
    assert (kind["status"], check["name"], check["score"]) == ("completed", "polite", 1.0)
    (check,) = rude["result"]["evaluation"]["checks"]
    assert (check["passed"], check["message"]) == (False, "say 'please'")
    assert rude["result"]["evaluation"]["rounds"] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slow", "evaluator 'slow' gave no score in 0.02 s"),
        ("failing", "evaluator 'failing' failed with ValueError"),
    ],
)
async def test_an_evaluator_that_cannot_judge_ends_a_gated_task_for_good(world: World, name: str, message: str) -> None:
    wanted = {"checks": [{"type": "evaluator", "name": name}]}

    gated = await world.run("A secret word", agent="EchoAgent", evaluation=wanted)
    observed = await world.run(
        "A secret word", agent="EchoAgent", evaluation={**wanted, "retries": 0, "on_failure": "accept"}
    )

    assert gated["error"] == {"type": "EVALUATOR_UNUSABLE", "message": message}
    assert gated["agent_runs"][-1]["error"]["type"] == "EVALUATOR_UNUSABLE"
    assert (observed["status"], observed["result"]["evaluation"]) == ("completed", None)


async def test_evaluators_are_listed_and_an_unknown_one_is_refused_with_their_names(world: World) -> None:
    listed = (await world.api.get("/v1/evaluators")).json()
    body = {"task": "x", "evaluation": {"checks": [{"type": "evaluator", "name": "absent"}]}}
    refused = await world.api.post("/v1/agent/execute", body=body)

    assert [one["name"] for one in listed["items"]] == ["failing", "polite", "slow"]
    assert listed["items"][1] == {
        "name": "polite",
        "description": "Says a word of courtesy.",
        "origin": "my-tone 1.2.3",
    }
    assert "failing, polite, slow" in str(problem_of(refused, 422, "VALIDATION_ERROR"))


async def test_packages_that_do_not_work_are_told_by_the_log(packages: Path, start_world: StartWorld) -> None:
    shutil.rmtree(packages / "odd_pack-1.2.3.dist-info")
    add_metadata(packages, "half-pack", evaluators={"half": "half_of_the_tests:SPEC"})
    source = (
        "from app.governance.evaluation.plugins import EvaluatorSpec\nSPEC = EvaluatorSpec('half', 'x', 'gone:f')\n"
    )
    add_module(packages, "half_of_the_tests", source)

    with capture_logs() as logs:
        async with start_world() as world:
            listed = (await world.api.get("/v1/evaluators")).json()["items"]

    told = {(one["event"], one["distribution"]) for one in logs if one["event"].startswith("plugin.")}
    assert told == {("plugin.left_out", "torn-pack 1.2.3"), ("plugin.evaluator_broken", "half-pack 1.2.3")}
    assert [one["name"] for one in listed] == ["half", "polite"]


async def test_the_terminal_lists_evaluators_and_the_doctor_finds_what_is_broken(packages: Path) -> None:
    listed = CliRunner().invoke(app, ["evaluators", "list"])
    as_json = json.loads(CliRunner().invoke(app, ["evaluators", "list", "--json"]).stdout)
    check = await check_plugins(load_settings(_env_file=None))

    assert listed.exit_code == 0
    assert " ".join(listed.stdout.splitlines()[2].split()) == "polite my-tone 1.2.3 Says a word of courtesy."
    assert "failing: torn-pack 1.2.3" in listed.stderr
    assert [one["name"] for one in as_json["items"]] == ["failing", "polite", "slow"]
    assert [one["distribution"] for one in as_json["failing"]] == ["torn-pack 1.2.3"]
    assert check.failed
    assert "torn-pack 1.2.3 (agent_orchestrator.evaluators: torn)" in check.finding
    assert "nowhere_of_the_tests" in check.finding


async def test_the_doctor_finds_policies_that_name_what_is_not_there(packages: Path) -> None:
    known = {"checks": [{"type": "evaluator", "name": "polite"}]}
    unknown = {"checks": [{"type": "no_secrets"}, {"type": "evaluator", "name": "absent"}]}

    fine = await check_policies(load_settings(_env_file=None, evaluation_policies={"EchoAgent": known, "*": known}))
    wrong = await check_policies(load_settings(_env_file=None, evaluation_policies={"EchAgent": known, "*": unknown}))
    none = await check_policies(load_settings(_env_file=None))

    assert (fine.grade, none.grade, wrong.grade) == (Grade.OK, Grade.OK, Grade.FAIL)
    assert "there is no agent 'EchAgent'" in wrong.finding
    assert "*: evaluation.checks.1: there is no evaluator of this name (failing, polite, slow)" in wrong.finding
    assert "EVALUATION_POLICIES" in (wrong.remedy or "")


async def test_what_the_guide_asks_for_first_is_evaluated_as_it_says(world: World) -> None:
    wanted = next(body for body in guided() if "rubric" in body)

    task = await world.run(ARTICLE, evaluation=wanted)

    verdict = task["result"]["evaluation"]
    assert task["status"] == "completed"
    assert [check["name"] for check in verdict["checks"]] == [check["type"] for check in wanted["checks"]]
    assert [one["name"] for one in verdict["criteria"]] == ["subject", "sources"]
    assert verdict["threshold"] == wanted["minimum_score"]


def test_the_policies_of_the_guide_are_ones() -> None:
    (policies,) = re.findall(r"EVALUATION_POLICIES='(.+)'", "\n".join(shown("bash")))

    settings = load_settings(_env_file=None, evaluation_policies=json.loads(policies))

    assert settings.evaluation_policies["ContentAgent"].only_observes
    assert all(EvaluationRequest.model_validate(body) for body in guided())
