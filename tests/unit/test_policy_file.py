"""The policy of the deployment: a file that is right, or a process that does not start."""

import asyncio
from pathlib import Path

import pytest

from app import main as api
from app.cli.check import Grade
from app.cli.policy_checks import check_policy
from app.governance.policy.configured import configured_policy
from app.settings import ConfigurationError, Settings, load_settings
from worker import __main__ as worker

POLICY = "version: 1\nrules:\n  - {name: all, applies_to: [task], decide: deny}\n"


def settings_with(path: Path | None) -> Settings:
    return load_settings(_env_file=None, **({"policy_file": path} if path else {}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, "utf-8")
    return path


async def test_a_policy_that_is_right_holds(file: Path) -> None:
    policy = configured_policy(settings_with(file))
    found = await check_policy(settings_with(file))

    assert policy is not None
    assert [rule.name for rule in policy.document.rules] == ["all"]
    assert (found.grade, found.finding) == (Grade.OK, f"1 rules in {file}")


async def test_without_a_file_nothing_is_configured() -> None:
    assert configured_policy(settings_with(None)) is None
    assert (await check_policy(settings_with(None))).grade is Grade.OK


@pytest.mark.parametrize("text", ["version: 1\nrules: nonsense", None])
def test_no_process_starts_with_a_policy_that_cannot_be_used(
    file: Path, text: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text, "utf-8")
    monkeypatch.setenv("POLICY_FILE", str(file))

    with pytest.raises(ConfigurationError, match="POLICY_FILE"):
        configured_policy(settings_with(file))
    codes = api.main(), worker.main()

    assert codes == (api.EXIT_MISCONFIGURED, worker.EXIT_MISCONFIGURED)
    assert capsys.readouterr().err.count("POLICY_FILE: ") == 2
    assert asyncio.run(check_policy(settings_with(file))).failed
