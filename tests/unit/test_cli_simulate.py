import signal
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app.cli.exit_codes import ExitCode, code_of_error
from app.cli.main import app
from app.cli.simulate import simulation_of
from app.devstack.stack import Simulation
from app.llm.simulator.scenario_files import ScenarioInvalid, scenario_names
from tests.processes import running, start

MINE = "name: mine\ndescription: Never up.\nrules:\n  - name: down\n    then: {error: 503}\n"


def test_the_list_has_every_scenario_with_what_it_does() -> None:
    shown = CliRunner().invoke(app, ["simulate", "--list"])

    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == scenario_names()
    assert "429" in shown.stdout


@pytest.mark.slow
def test_the_simulator_plays_a_file_and_stops_cleanly(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    argv = (sys.executable, "-m", "app.cli.main", "simulate", "--port", "0", "--scenario", "mine.yaml", "--seed", "4")
    with running(start("simulate", argv, folder=tmp_path)) as process:
        url = process.says("listening on http://").rsplit(maxsplit=1)[-1]
        shown = httpx.get(f"{url}/_sim/scenario", trust_env=False).json()
        process.signal(signal.SIGTERM)
        exit_code = process.wait()

    assert (shown["scenario"]["name"], shown["seed"], exit_code) == ("mine", 4, 0)
    assert "scenario mine, seed 4: Never up." in process.read()


@pytest.mark.parametrize("command", [["simulate"], ["up", "--port", "0"], ["demo"]], ids=lambda argv: argv[0])
def test_a_scenario_that_does_not_exist_stops_the_start_with_the_names(command: list[str]) -> None:
    refused = CliRunner().invoke(app, [*command, "--scenario", "stormy"])

    assert isinstance(refused.exception, ScenarioInvalid)
    assert "there is no scenario 'stormy'" in refused.exception.message
    assert code_of_error(refused.exception) is ExitCode.USAGE


def test_a_file_is_named_absolutely_since_the_simulator_may_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "broken.yaml").write_text("name: 7\n")
    monkeypatch.chdir(tmp_path)

    assert simulation_of("mine.yaml", 1) == Simulation(str(tmp_path / "mine.yaml"), 1)
    assert simulation_of("flaky", 2) == Simulation("flaky", 2)
    with pytest.raises(ScenarioInvalid, match=r"broken\.yaml:1: name"):
        simulation_of("broken.yaml", 0)
