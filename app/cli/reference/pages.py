"""The generated pages of `docs/reference`, and whether they still say what the code says."""

from collections.abc import Callable
from pathlib import Path

from app.cli.reference.commands import commands_page
from app.cli.reference.configuration import configuration_page
from app.cli.reference.errors import errors_page
from app.cli.reference.openapi import openapi_page
from app.cli.reference.scenarios import scenarios_page
from app.cli.reference.workflows import workflow_language_page, workflow_schema_page
from app.devstack.source import ROOT

FOLDER = ROOT / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands_page,
    "configuration.md": configuration_page,
    "errors.md": errors_page,
    "openapi.json": openapi_page,
    "scenarios.md": scenarios_page,
    "workflow-language.md": workflow_language_page,
    "workflow.schema.json": workflow_schema_page,
}


def write_all(folder: Path = FOLDER) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, render in PAGES.items():
        (folder / name).write_text(render(), encoding="utf-8")
    return [folder / name for name in PAGES]


def drifted(folder: Path = FOLDER) -> list[str]:
    """Names of the pages that are missing or differ from what would be generated now."""
    return [name for name in PAGES if has_drifted(name, folder)]


def has_drifted(name: str, folder: Path = FOLDER) -> bool:
    path = folder / name
    return not path.exists() or path.read_text(encoding="utf-8") != PAGES[name]()
