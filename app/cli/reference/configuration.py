"""`configuration.md`: every variable of the Settings class. Only the class is read, never the environment."""

import inspect
import re
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from app.cli.reference.markdown import GENERATED, code, page, table
from app.settings import ApiKey, Settings

_GROUP = re.compile(r"    # --- (?P<group>.+)")
_FIELD = re.compile(r"    (?P<name>[a-z]\w*): ")
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "text", Path: "path", SecretStr: "secret"}
_URLS = {"text": "URL", "secret": "URL (secret)"}
_BOUNDS = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"), (MaxLen, "max_length", "length ≤"))


def configuration_page() -> str:
    lines = [
        GENERATED,
        "",
        "# Configuration",
        "",
        "Everything is read from the environment, and from `.env` in the working folder. Names are not case-sensitive;",
        "an empty value counts as not set. A wrong value stops the start with the variable's name and the fix.",
        "`orchestrate doctor` checks what is set.",
    ]
    for group, names in groups().items():
        lines += ["", f"## {group[0].upper()}{group[1:]}", ""]
        lines += table(("Variable", "Type", "Default", "Meaning"), (_row(name) for name in names))
    return page(lines)


def groups() -> dict[str, list[str]]:
    """The fields under the headings that divide the class."""
    found: dict[str, list[str]] = {}
    group = "general"
    for line in _source_lines():
        if heading := _GROUP.match(line):
            group = heading["group"]
        elif (field := _FIELD.match(line)) and field["name"] in Settings.model_fields:
            found.setdefault(group, []).append(field["name"])
    return found


def _source_lines() -> list[str]:
    """Of the class and those it is put together from."""
    parts = [kind for kind in Settings.mro() if issubclass(kind, BaseSettings) and kind is not BaseSettings]
    return [line for kind in parts for line in inspect.getsource(kind).splitlines()]


def _row(name: str) -> tuple[str, str, str, str]:
    field = Settings.model_fields[name]
    return code(name.upper()), _type(name, field), _default(field.default), field.description or ""


def _type(name: str, field: FieldInfo) -> str:
    limits = [
        f"{sign} {_bound(item, attribute)}"
        for item in field.metadata
        for kind, attribute, sign in _BOUNDS
        if isinstance(item, kind)
    ]
    kind = _named(field.annotation)
    return ", ".join([_URLS.get(kind, kind) if name.endswith(("_url", "_uri")) else kind, *limits])


def _bound(item: object, attribute: str) -> str:
    value = getattr(item, attribute)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _named(annotation: Any) -> str:
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is tuple:
        return "list of keys" if arguments[0] is ApiKey else "list"
    if arguments:
        return _named(arguments[0])
    if inspect.isclass(annotation) and issubclass(annotation, StrEnum):
        return " or ".join(code(member) for member in annotation)
    return _NAMES.get(annotation, "text")


def _default(value: Any) -> str:
    match value:
        case None | ():
            return "not set"
        case SecretStr():
            return code(value.get_secret_value())
        case bool():
            return code(str(value).lower())
        case float():
            return code(f"{value:g}")
        case tuple():
            return code(",".join(map(str, value)))
        case _:
            return code(str(value))
