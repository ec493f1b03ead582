"""`orchestrate version`."""

from app.cli.terminal import out
from app.version import VERSION


def version() -> None:
    """Print the version."""
    out.print(VERSION, markup=False)
