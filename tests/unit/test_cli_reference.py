from pathlib import Path

import pytest

from app.cli.reference.configuration import configuration_page, groups
from app.cli.reference.pages import PAGES, drifted, has_drifted, write_all
from app.settings import Settings


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_reference_says_what_the_code_says(name: str) -> None:
    assert not has_drifted(name), f"docs/reference/{name} is out of date: run `make docs`"


def test_a_page_that_was_changed_or_lost_is_found(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert drifted(tmp_path) == []

    (tmp_path / "cli.md").write_text("something else")
    (tmp_path / "errors.md").unlink()

    assert drifted(tmp_path) == ["cli.md", "errors.md"]


def test_every_setting_is_on_the_page_once() -> None:
    listed = [name for names in groups().values() for name in names]

    assert sorted(listed) == sorted(Settings.model_fields)


def test_the_environment_does_not_reach_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    before = configuration_page()

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("WORKER_SLOTS", "7")

    assert configuration_page() == before
