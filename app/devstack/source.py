"""Where this program's own packages lie, so that children find them whatever folder they run in."""

import os
from collections.abc import Mapping
from pathlib import Path

import app

ROOT = Path(app.__path__[0]).resolve().parent


def with_source(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment with this program's packages on the import path, in front of what was there."""
    rest = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{rest}" if rest else str(ROOT)}
