"""Paths of the files that a task or an answer holds: relative, portable, and never out of their folder.

Light: the API process imports it.
"""

import re
import unicodedata
from collections.abc import Iterable

LONGEST_PATH = 200
LONGEST_NAME = 100
MOST_FILES = 50
# Names that Windows gives to devices, with any extension.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_FORBIDDEN = frozenset('<>:"|?*')


def check_path(path: str) -> str:
    """The path itself. Raises `ValueError`, which does not quote it, when it is not safe to write below a folder."""
    if not path or len(path) > LONGEST_PATH:
        raise ValueError(f"a path has 1 to {LONGEST_PATH} characters")
    if any(unicodedata.category(character).startswith(("C", "Zl", "Zp")) for character in path):
        raise ValueError("a path has no control or invisible characters")
    if "\\" in path:
        raise ValueError("a path is separated by /, not by a backslash")
    if path.startswith(("/", "~")) or _FORBIDDEN & set(path):
        raise ValueError('a path is relative to its folder, without a drive, a scheme or any of < > : " | ? *')
    for name in path.split("/"):
        _check_name(name)
    return path


def check_together(paths: Iterable[str]) -> None:
    """Raises `ValueError` for too many, for two that are one on some system, and for a file that is also a folder."""
    # Some file systems take names that differ in case, or in how an accent is written, for the same.
    known = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    if len(known) > MOST_FILES:
        raise ValueError(f"{len(known)} files; at most {MOST_FILES} are accepted")
    if len(set(known)) < len(known):
        raise ValueError("two files have the same path")
    folders = {path[:at] for path in known for at, character in enumerate(path) if character == "/"}
    if folders & set(known):
        raise ValueError("a path is both a file and a folder")


def _check_name(name: str) -> None:
    if name in {"", ".", ".."}:
        raise ValueError("a path has no empty parts, no `.` and no `..`: it never leaves its folder")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name in a path has at most {LONGEST_NAME} characters")
    if name != name.strip() or name.endswith("."):
        raise ValueError("a name in a path neither begins nor ends with a blank, and does not end with a dot")
    if _DEVICES.fullmatch(name) or name.lower() == ".git":
        raise ValueError("a name in a path is none that a system reserves, such as NUL or .git")
