from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

from app.cli.lazy import Deferred, loaded
from app.cli.main import COMMANDS, app


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_a_command_is_listed_as_it_describes_itself(command: Deferred) -> None:
    its_own = loaded(command)

    assert its_own.name == command.name
    assert " ".join(its_own.help.split("\n\n")[0].split()) == command.help


def test_the_list_of_commands_names_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    listed = CliRunner().invoke(app, ["--help"]).output

    assert [name for name in (str(command.name) for command in COMMANDS) if name not in listed] == []


def test_the_list_of_commands_loads_none_of_them() -> None:
    nowhere = Deferred("lost", "app.cli.nowhere", "lost", "Is not there.")

    assert nowhere.get_short_help_str() == "Is not there."
    with pytest.raises(ModuleNotFoundError):
        nowhere.load()


def test_a_function_and_a_group_are_both_loaded_under_their_listed_name() -> None:
    assert loaded(Deferred("listed", "app.cli.version", "version", "")).name == "listed"
    assert "list" in loaded(Deferred("listed", "app.cli.tasks", "app", "")).commands
    assert isinstance(import_module("app.cli.tasks").app, typer.Typer)
