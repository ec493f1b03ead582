"""What `orchestrate doctor` looks at on this machine: Python, the configuration, the disk."""

import platform
import shutil
import sys
from pathlib import Path

from app.cli.check import Check, fail, ok, warn
from app.settings import ConfigurationError, Settings

_OLDEST = (3, 11)
_LOW, _EMPTY = 1024**3, 100 * 1024**2


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    shown = ".".join(map(str, version))
    if version < _OLDEST:
        return fail("python", f"Python {shown}", "install Python 3.11 or newer and make the environment again")
    return ok("python", f"Python {shown} on {platform.system()} {platform.machine()}")


def check_configuration(settings: Settings) -> Check:
    """Names what was set, never a value: some are secrets."""
    given = sorted(name.upper() for name in settings.model_fields_set)
    return ok("configuration", f"set: {', '.join(given)}; the rest is default" if given else "everything is default")


def check_wrong_configuration(error: ConfigurationError) -> list[Check]:
    """One failure for each wrong variable, with its fix."""
    problems = [line.strip().partition(": ") for line in error.message.splitlines()[1:]]
    return [fail(f"configuration {variable}", "wrong value", advice) for variable, _, advice in problems]


def check_disk(data_dir: Path) -> Check:
    folder = next(each for each in (data_dir.absolute(), *data_dir.absolute().parents) if each.exists())
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1024**3:.1f} GiB free for {data_dir}"
    remedy = "free some space, or choose another folder with DATA_DIR"
    if free < _EMPTY:
        return fail("disk", finding, remedy)
    return warn("disk", finding, remedy) if free < _LOW else ok("disk", finding)
