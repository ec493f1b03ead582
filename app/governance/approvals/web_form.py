"""The form of an approval as a page without scripts asks for it, and what comes back. Pure.

A field that is left empty counts as not filled in. What is no text, number or choice is written as JSON.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from app.contracts import Contract, Contracts
from app.errors import Invalid
from app.governance.approvals.schemas import LONGEST_COMMENT
from app.http.json_text import check_json

MEDIA_TYPE = "application/x-www-form-urlencoded"
# A form of 16 KiB, every byte of which is written as three.
LARGEST_BODY = 64 * 1024
_PREFIX, _COMMENT = "form.", "comment"
_MOST_FIELDS = 300
_SHORT = 200
_DEEPEST = 32
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_CHOICES: Mapping[str, list[Any]] = {"boolean": [True, False]}


def fields_html(form: Contracts, texts: Mapping[str, str]) -> str:
    """``texts`` are what was typed before, by name."""
    return "".join(_labelled(name, contract, texts.get(f"{_PREFIX}{name}")) for name, contract in form.items())


def comment_html(texts: Mapping[str, str]) -> str:
    text = escape(texts.get(_COMMENT, ""))
    area = f'<textarea name="{_COMMENT}" rows="2" maxlength="{LONGEST_COMMENT}">\n{text}</textarea>'
    return f"<p><label>Comment (may be empty)<br>{area}</label></p>"


def read_texts(body: bytes) -> dict[str, str]:
    """What was typed, by the name of the field. Raises `Invalid`."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise Invalid("the body is no form as the page sends it", field="body") from error
    if len({name for name, _ in pairs}) < len(pairs):
        raise Invalid("the body has a field twice", field="body")
    return {name: text.replace("\r\n", "\n") for name, text in pairs}


def filled(form: Contracts, texts: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The form and the comment. Raises `Invalid` for a field that there is not, or whose text does not fit its type."""
    known = {f"{_PREFIX}{name}" for name in form}
    if strangers := sorted(texts.keys() - known - {_COMMENT}):
        raise Invalid(f"the form has no field {strangers[0][:80]!r}", field="form")
    comment = texts.get(_COMMENT, "")
    if len(comment) > LONGEST_COMMENT:
        raise Invalid(f"the comment has more than {LONGEST_COMMENT} characters", field=_COMMENT)
    return dict(_values(form, texts)), comment


def _values(form: Contracts, texts: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, contract in form.items():
        text = texts.get(f"{_PREFIX}{name}", "")
        if text.strip():
            yield name, _value(name, contract, text)
        elif contract.is_required and contract.nullable:
            yield name, None


def _value(name: str, contract: Contract, text: str) -> Any:
    if (choices := _choices_of(contract)) is not None:
        found = [one for one in choices if json.dumps(one) == text]
        if not found:
            raise _unfit(name, "one of its choices")
        return found[0]
    match contract.type:
        case "string":
            return text
        case "integer":
            if not _WHOLE.fullmatch(text.strip()):
                raise _unfit(name, "a whole number")
            return int(text)
        case "number":
            return _number(name, text)
        case _:
            return _json(name, text)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise _unfit(name, "a number") from error
    if not math.isfinite(number):
        raise _unfit(name, "a number")
    return number


def _json(name: str, text: str) -> Any:
    try:
        check_json(text.encode(), max_depth=_DEEPEST)
        return json.loads(text)
    except (Invalid, ValueError) as error:
        raise _unfit(name, "JSON") from error


def _unfit(name: str, wanted: str) -> Invalid:
    return Invalid(f"{name} has to be {wanted}", field=f"form.{name}")


def _choices_of(contract: Contract) -> list[Any] | None:
    if contract.enum is not None:
        return list(contract.enum)
    if contract.const is not None:
        return [contract.const]
    return _CHOICES.get(contract.type or "")


def _labelled(name: str, contract: Contract, text: str | None) -> str:
    if text is None:
        text = _text_of(contract, contract.default) if contract.has_default else ""
    told = f"<br><small>{escape(contract.description)}</small>" if contract.description else ""
    needed = "" if contract.is_required and not contract.nullable else " (may be empty)"
    return f"<p><label>{escape(name)}{needed}{told}<br>{_control(name, contract, text)}</label></p>"


def _text_of(contract: Contract, value: Any) -> str:
    if value is None:
        return ""
    return value if contract.type == "string" and _choices_of(contract) is None else json.dumps(value)


def _control(name: str, contract: Contract, text: str) -> str:
    required = " required" if contract.is_required and not contract.nullable else ""
    attributes = f'name="{_PREFIX}{escape(name)}"{required}'
    if (choices := _choices_of(contract)) is not None:
        options = "".join(_option(json.dumps(one), str(one), text) for one in choices)
        return f"<select {attributes}>{_option('', '', text)}{options}</select>"
    if contract.type in ("integer", "number"):
        step = "1" if contract.type == "integer" else "any"
        bounds = _bounds({"min": contract.minimum, "max": contract.maximum})
        return f'<input type="number" step="{step}" {attributes}{bounds} value="{escape(text)}">'
    lengths = _bounds({"minlength": contract.min_length, "maxlength": contract.max_length})
    if contract.type == "string" and (contract.max_length or _SHORT + 1) <= _SHORT and "\n" not in text:
        return f'<input type="text" {attributes}{lengths} value="{escape(text)}">'
    # The first line break in a text area is no part of its text.
    return f'<textarea rows="4" {attributes}{lengths}>\n{escape(text)}</textarea>'


def _option(value: str, shown: str, chosen: str) -> str:
    selected = " selected" if value == chosen else ""
    return f'<option value="{escape(value)}"{selected}>{escape(shown)}</option>'


def _bounds(bounds: Mapping[str, Any]) -> str:
    return "".join(f' {name}="{bound}"' for name, bound in bounds.items() if bound is not None)
