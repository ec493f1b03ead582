"""`cli.md`: every command with its options, and the exit codes."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from typer.main import get_command

from app.cli.exit_codes import MEANINGS
from app.cli.lazy import loaded
from app.cli.main import app
from app.cli.reference.markdown import GENERATED, code, page, table

NAME = "orchestrate"


def commands_page() -> str:
    lines = [
        GENERATED,
        "",
        "# Commands",
        "",
        "Results go to standard output, everything else to standard error.",
        "",
        *_variables(),
        "",
        "## Exit codes",
        "",
        *table(("Code", "Name", "Meaning"), ((str(int(c)), code(c.name), MEANINGS[c]) for c in MEANINGS)),
    ]
    for name, command in sorted(_walk(NAME, get_command(app))):
        lines += ["", *_section(name, command)]
    return page(lines)


def _variables() -> list[str]:
    rows = (
        ("ORCHESTRATE_URL", "Server of `task`, `tasks` and `dead-letters`, when `--server` is not given."),
        ("ORCHESTRATE_API_KEY", "Key of `task`, `tasks` and `dead-letters`, when `--api-key` is not given."),
        ("ORCHESTRATE_DEBUG", "`1` shows tracebacks, like `--debug`."),
    )
    return table(("Variable", "Meaning"), ((code(name), meaning) for name, meaning in rows))


# Typer carries Click inside it as a private package, so its commands have no public type.
def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from _walk(f"{name} {child.name}", loaded(child))


def _section(name: str, command: Any) -> list[str]:
    lines = [f"## {code(name)}", "", command.help or ""]
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    return [*lines, "", *table(("Option", "Default", "Meaning"), rows)] if rows else lines


def _row(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        names = parameter.metavar or parameter.name.upper()
    else:
        names = " / ".join([*parameter.opts, *parameter.secondary_opts])
    return code(names), code(_default(parameter.default)), getattr(parameter, "help", None) or ""


def _default(value: Any) -> str:
    if value is None or isinstance(value, bool | Enum) or callable(value):
        return ""
    return str(value)
