"""Groups of approvers as a setting."""

import pytest

from app.settings import ConfigurationError, load_settings


def test_groups_are_names_for_ids_of_keys() -> None:
    found = load_settings(environment="test", approver_groups="legal=a1+b2, finance=c3+,").approver_groups

    assert found == {"legal": {"a1", "b2"}, "finance": {"c3"}}


@pytest.mark.parametrize("wrong", ["legal", "legal=", "=a1", "legal=+", "a=1,a=2", "admin=a1", "member=a1"])
def test_a_group_without_keys_given_twice_or_called_like_a_role_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="APPROVER_GROUPS"):
        load_settings(environment="test", approver_groups=wrong)


def test_a_public_address_is_a_url() -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        load_settings(environment="test", public_url="agents.example.com")
