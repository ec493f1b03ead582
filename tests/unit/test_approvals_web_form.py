"""What is typed into the form of an approval's page, as values."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from app.contracts import Contracts
from app.errors import Invalid
from app.governance.approvals.web_form import fields_html, filled, read_texts

FORM: Contracts = TypeAdapter(Contracts).validate_python(
    {
        "title": {"type": "string", "max_length": 20, "description": "<i>of</i> it"},
        "text": {"type": "string", "optional": True},
        "count": {"type": "integer", "optional": True},
        "rate": {"type": "number", "optional": True},
        "agreed": {"type": "boolean", "optional": True},
        "level": {"enum": ["low", 2, True], "optional": True},
        "tags": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
        "by": {"type": "string", "nullable": True},
    }
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("title", " a b ", " a b "),
        ("text", "<b>\n", "<b>\n"),
        ("count", " -7 ", -7),
        ("rate", "1e3", 1000.0),
        ("agreed", "true", True),
        ("level", "2", 2),
        ("level", '"low"', "low"),
        ("level", "true", True),
        ("tags", '["x"]', ["x"]),
    ],
)
def test_a_text_becomes_a_value_of_the_type_of_its_field(name: str, text: str, value: Any) -> None:
    form, _ = filled(FORM, {f"form.{name}": text})

    assert form[name] == value
    assert type(form[name]) is type(value)


def test_what_is_left_empty_is_not_given_and_null_where_only_that_is_allowed() -> None:
    assert filled(FORM, {"form.title": " ", "form.count": "", "comment": "so"}) == ({"by": None}, "so")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "1.5"),
        ("count", "9" * 30),
        ("rate", "nan"),
        ("rate", "1e999"),
        ("agreed", "maybe"),
        ("level", "low"),
        ("tags", "[" * 5000),
        ("tags", '{"a": 1, "a": 2}'),
        ("strange", "1"),
    ],
)
def test_what_is_no_value_of_its_type_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(Invalid, match=name):
        filled(FORM, {f"form.{name}": text})


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=%ff", "a=é".encode(), b"&".join(b"f%d=" % n for n in range(400))])
def test_bodies_that_no_page_sends_are_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_texts(body)


def test_the_fields_are_shown_escaped_with_what_was_typed() -> None:
    html = fields_html(FORM, {"form.title": '"><script>', "form.level": "2", "form.text": "\n</textarea>"})

    assert "<script" not in html
    assert "&lt;i&gt;of" in html
    assert 'maxlength="20" value="&quot;&gt;&lt;script&gt;"' in html
    assert '<option value="2" selected>' in html
    assert "\n\n&lt;/textarea&gt;</textarea>" in html
    assert "[&quot;a&quot;]" in html
