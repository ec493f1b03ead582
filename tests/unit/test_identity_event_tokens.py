from datetime import UTC, datetime, timedelta

import pytest

from app.errors import NotAuthenticated
from app.identity.event_tokens import MAX_AGE, MAX_SKEW, EventTokens, token_secret
from app.identity.principals import Principal
from app.settings import Role, load_settings

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SECRET = "secret-of-the-test"
SOMEBODY = Principal("acme", Role.ADMIN, "key-id")


def tokens(at: datetime = NOON, secret: str = SECRET) -> EventTokens:
    return EventTokens(secret, clock=lambda: at)


def test_a_token_opens_the_stream_it_was_made_for_as_a_viewer() -> None:
    token = tokens().issue(SOMEBODY, "task-1")

    assert tokens().verify(token, "task-1") == Principal("acme", Role.VIEWER, "key-id")


@pytest.mark.parametrize("later", [MAX_AGE, -MAX_SKEW])
def test_it_lives_five_minutes_and_bears_with_clocks_that_differ(later: timedelta) -> None:
    token = tokens().issue(SOMEBODY, "task-1")

    assert tokens(NOON + later).verify(token, "task-1").tenant_id == "acme"


@pytest.mark.parametrize("later", [MAX_AGE + timedelta(seconds=1), -MAX_SKEW - timedelta(seconds=1)])
def test_then_it_is_refused(later: timedelta) -> None:
    token = tokens().issue(SOMEBODY, "task-1")

    with pytest.raises(NotAuthenticated):
        tokens(NOON + later).verify(token, "task-1")


def test_it_does_not_open_another_task() -> None:
    token = tokens().issue(SOMEBODY, "task-1")

    with pytest.raises(NotAuthenticated):
        tokens().verify(token, "task-2")


def test_a_token_of_another_secret_is_refused() -> None:
    token = tokens(secret="another-secret").issue(SOMEBODY, "task-1")

    with pytest.raises(NotAuthenticated):
        tokens().verify(token, "task-1")


@pytest.mark.parametrize("position", [0, 5, 20, -1, -10, -30])
def test_a_changed_token_is_refused(position: int) -> None:
    token = list(tokens().issue(SOMEBODY, "task-1"))
    token[position] = "A" if token[position] != "A" else "Q"

    with pytest.raises(NotAuthenticated):
        tokens().verify("".join(token), "task-1")


@pytest.mark.parametrize("token", ["", "a.b.c", "ü", "." * 100, "x" * 100_000])
def test_rubbish_is_refused(token: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens().verify(token, "task-1")


def test_every_process_with_the_same_keys_signs_alike() -> None:
    one = load_settings(environment="test", api_keys="first-key-1:a,second-key-1:b")
    other = load_settings(environment="test", api_keys="second-key-1:b,first-key-1:a")
    third = load_settings(environment="test", api_keys="first-key-1:a")

    assert token_secret(one) == token_secret(other) != token_secret(third)


def test_a_configured_secret_is_used_and_without_keys_each_process_has_its_own() -> None:
    configured = load_settings(environment="test", event_token_secret="configured-secret", api_keys="first-key-1")
    bare = load_settings(environment="test", api_keys="")

    assert token_secret(configured) == "configured-secret"
    assert token_secret(bare) != token_secret(bare)
