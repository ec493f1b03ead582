"""`--input` of `orchestrate task`: members by name, or whole objects from files."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from app.cli.server import Json
from app.errors import Invalid


def read_input(options: Iterable[str]) -> Json:
    """One object from `name=value`, `name=@file` and `@file.json`, the later ones on top. Raises `Invalid`.

    A value is JSON when it can be read as such, else the text itself; a file named by `name=@file` is text.
    """
    members: Json = {}
    for option in options:
        name, equals, value = option.partition("=")
        if option.startswith("@"):
            members |= _object_in(option[1:])
        elif not name or not equals:
            raise Invalid(f"--input {option[:80]!r}: write name=value, name=@file or @file.json")
        else:
            members[name] = _text_in(value[1:]) if value.startswith("@") else _value(value)
    return members


def _object_in(path: str) -> Json:
    try:
        found = json.loads(_text_in(path))
    except ValueError as error:
        raise Invalid(f"--input @{path}: it is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Invalid(f"--input @{path}: it has to hold one JSON object")
    return found


def _text_in(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise Invalid(f"--input @{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"--input @{path}: it is not UTF-8 text") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
