import pytest

from app.errors import NotAuthenticated
from app.identity.keys import ANONYMOUS, KeyRing
from app.identity.permissions import Action, action_of, may
from app.identity.principals import Principal
from app.settings import ConfigurationError, Role, load_settings


def ring(api_keys: str) -> KeyRing:
    return KeyRing(load_settings(environment="test", api_keys=api_keys).api_keys, default_tenant="home")


def test_a_key_opens_its_tenant_with_its_role() -> None:
    keys = ring("member-key-1:acme,viewer-key-1:acme:viewer,admin-key-1:other:admin")

    assert (keys.authenticate("member-key-1").tenant_id, keys.authenticate("member-key-1").role) == (
        "acme",
        Role.MEMBER,
    )
    assert keys.authenticate("viewer-key-1").role is Role.VIEWER
    assert (keys.authenticate("admin-key-1").tenant_id, keys.authenticate("admin-key-1").role) == ("other", Role.ADMIN)


def test_a_key_without_a_tenant_opens_the_default_one() -> None:
    assert ring("plain-key-1").authenticate("plain-key-1").tenant_id == "home"


@pytest.mark.parametrize("presented", [None, "", "wrong-key", "member-key-", "member-key-1 ", "MEMBER-KEY-1", "\udcff"])
def test_anything_else_is_refused_in_the_same_words(presented: str | None) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        ring("member-key-1:acme,another-key:other").authenticate(presented)

    assert caught.value.message == "send a valid key as X-API-Key or Authorization: Bearer"


def test_without_keys_everybody_is_the_default_tenants_admin() -> None:
    keys = ring("")

    assert keys.is_open
    assert keys.authenticate(None) == keys.authenticate("anything") == Principal("home", Role.ADMIN, ANONYMOUS)


def test_the_key_id_is_stable_short_and_does_not_show_the_key() -> None:
    first, again = (ring("member-key-1:acme").authenticate("member-key-1") for _ in range(2))

    assert first.key_id == again.key_id
    assert len(first.key_id) == 12
    assert first.key_id != ring("member-key-2").authenticate("member-key-2").key_id


def test_the_ring_keeps_no_key_in_the_clear() -> None:
    keys = ring("member-key-1:acme")

    assert "member-key-1" not in str(vars(keys))


def test_one_key_for_two_tenants_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="twice") as caught:
        ring("member-key-1:acme,member-key-1:other")

    assert "member-key-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("role", "permitted"),
    [
        (Role.VIEWER, {Action.READ}),
        (Role.MEMBER, {Action.READ, Action.WRITE}),
        (Role.ADMIN, {Action.READ, Action.WRITE, Action.ADMINISTER}),
    ],
)
def test_each_role_may_do_what_it_says(role: Role, permitted: set[Action]) -> None:
    assert {action for action in Action if may(role, action)} == permitted


def test_a_method_nobody_knows_counts_as_a_write() -> None:
    assert [action_of(method, "/v1/tasks") for method in ("GET", "HEAD", "POST", "DELETE", "BREW")] == [
        Action.READ, Action.READ, Action.WRITE, Action.WRITE, Action.WRITE,
    ]  # fmt: skip


def test_a_key_is_found_by_its_id_in_its_own_tenant_only() -> None:
    keys = ring("member-key-1:acme,admin-key-1:other:admin")
    member = keys.authenticate("member-key-1")

    assert keys.find("acme", member.key_id) == member
    assert keys.find("other", member.key_id) is None
    assert keys.find("acme", "member-key-1") is None
    assert ring("").find("home", ANONYMOUS) == Principal("home", Role.ADMIN, ANONYMOUS)
