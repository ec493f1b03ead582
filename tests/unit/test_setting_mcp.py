import json
from typing import Any

import pytest

from app.observability.redaction import Redactor, secrets_of
from app.settings import ConfigurationError, Settings, load_settings
from tests.architecture.markdown import blocks_of

NOTES: dict[str, Any] = {"url": "https://example.com/mcp", "allow": {"CodeAgent": ["lookup"]}}


def settings_with(value: str, **others: Any) -> Settings:
    return load_settings(_env_file=None, mcp_servers=value, **others)


def servers_with(**changes: Any) -> str:
    return json.dumps({"notes": {**NOTES, **changes}})


def test_a_server_is_read_from_json() -> None:
    notes = settings_with(servers_with(headers={"Authorization": "Bearer a-secret-token"})).mcp_servers["notes"]

    assert notes.url == "https://example.com/mcp"
    assert notes.tools == {"lookup"}
    assert "a-secret-token" not in repr(notes)


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("{", "write a JSON object"),
        (servers_with(url="ftp://example.com"), "http:// or https://"),
        (servers_with(url="https://ada:a-secret-token@example.com/mcp"), "credentials out of the URL"),
        (servers_with(command=["notes"]), "either `url` or `command`"),
        (servers_with(url=None), "either `url` or `command`"),
        (servers_with(url=None, command=[]), "at least 1 item"),
        (servers_with(env={"KEY": "a-secret-token"}), "`env` is for a server with `command`"),
        (servers_with(url=None, command=["notes"], headers={"X": "a-secret-token"}), "`headers` are for a server"),
        (servers_with(read_only=["erase"]), "gives to no agent"),
        (servers_with(allow={"CodeAgent": ["look up"]}), "cannot be used"),
        (servers_with(allow={"CodeAgent": ["x" * 60]}), "cannot be used"),
        (json.dumps({"Not A Name": NOTES}), "a server's name"),
        (servers_with(colour="red"), "MCP_SERVERS notes.colour: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_server_refuses_to_start_with_the_fix_and_without_the_value(value: str, advice: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings_with(value)

    assert "MCP_SERVERS" in refused.value.message
    assert advice in refused.value.message
    assert "a-secret-token" not in refused.value.message


def test_the_servers_of_the_guide_are_taken() -> None:
    (shown,) = [block.text for block in blocks_of("json") if block.page.name == "use-mcp-tools.md"]

    assert settings_with(shown).mcp_servers.keys() == {"notes", "files"}


def test_secrets_of_servers_are_redacted_from_logs() -> None:
    headers = {"Authorization": "Bearer a-secret-token"}
    redactor = Redactor(secrets_of(settings_with(servers_with(headers=headers))))

    assert "a-secret-token" not in redactor.text("the server said a-secret-token is wrong")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("all", None),
        ("none", frozenset()),
        ("Weather.Pack, eye_pack", frozenset({"weather-pack", "eye-pack"})),
    ],
)
def test_plug_ins_are_admitted_by_name(value: str, wanted: frozenset[str] | None) -> None:
    assert load_settings(_env_file=None, agent_plugins=value).agent_plugins == wanted


def test_all_and_names_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="AGENT_PLUGINS"):
        load_settings(_env_file=None, agent_plugins="all,weather-pack")
