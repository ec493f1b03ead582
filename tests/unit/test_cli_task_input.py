import json
from pathlib import Path

import pytest

from app.cli.task_input import read_input
from app.errors import Invalid


def test_values_are_json_when_they_can_be_read_as_such_and_text_otherwise() -> None:
    given = read_input(["operation=group", 'by=["region"]', "max_words=20", "text=a=b", 'language="5"'])

    assert given == {"operation": "group", "by": ["region"], "max_words": 20, "text": "a=b", "language": "5"}


def test_files_give_a_text_or_a_whole_object_and_what_comes_later_wins(tmp_path: Path) -> None:
    table, whole = tmp_path / "sales.csv", tmp_path / "input.json"
    table.write_text("a,b\n1,2\n", "utf-8")
    whole.write_text(json.dumps({"operation": "profile", "csv": "x"}), "utf-8")

    given = read_input([f"@{whole}", f"csv=@{table}"])

    assert given == {"operation": "profile", "csv": "a,b\n1,2\n"}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("operation", "write name=value"),
        ("=1", "write name=value"),
        ("@missing.json", "No such file"),
        ("csv=@missing.csv", "No such file"),
    ],
)
def test_what_cannot_be_read_is_told(option: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        read_input([option])


def test_a_file_with_something_else_than_an_object_is_refused(tmp_path: Path) -> None:
    for number, (content, told) in enumerate(((b"[1]", "one JSON object"), (b"{", "not JSON"), (b"\xff", "not UTF-8"))):
        path = tmp_path / str(number)
        path.write_bytes(content)
        with pytest.raises(Invalid, match=told):
            read_input([f"@{path}"])
