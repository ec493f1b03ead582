"""Links to approvals: what is signed, and that nothing else opens one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NotAuthenticated
from app.identity.event_tokens import EventTokens
from app.identity.link_tokens import ApprovalLink, LinkTokens
from app.identity.principals import Principal
from app.settings import Role

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECRET = "secret-of-the-test"
LINK = ApprovalLink("acme", "a1", 1, True, "ann", "root", NOON + DAY)


def tokens(at: datetime = NOON, secret: str = SECRET) -> LinkTokens:
    return LinkTokens(secret, clock=lambda: at)


@pytest.mark.parametrize("link", [LINK, replace(LINK, approved=False, revision=7, tenant_id="ü/.:")])
def test_a_token_says_what_was_signed(link: ApprovalLink) -> None:
    assert tokens().verify(tokens().issue(link)) == link


@pytest.mark.parametrize("later", [DAY, DAY + timedelta(seconds=1)])
def test_when_its_time_is_over_it_is_refused(later: timedelta) -> None:
    token = tokens().issue(LINK)

    assert tokens(NOON + DAY - timedelta(milliseconds=1)).verify(token) == LINK
    with pytest.raises(NotAuthenticated, match="time is over"):
        tokens(NOON + later).verify(token)


def test_another_secret_and_a_token_for_something_else_do_not_open_it() -> None:
    of_events = EventTokens(SECRET, clock=lambda: NOON).issue(Principal("acme", Role.ADMIN, "ann"), "a1")

    for token in (tokens(secret="another").issue(LINK), of_events):
        with pytest.raises(NotAuthenticated):
            tokens().verify(token)


@given(place=st.integers(0, 10_000), char=st.sampled_from("Aa0-_.~"))
def test_no_character_of_it_can_be_another(place: int, char: str) -> None:
    token = tokens().issue(LINK)
    place %= len(token)
    forged = token[:place] + char + token[place + 1 :]

    if forged != token:
        # The last character of the signature holds bits that mean nothing: what it opens is the same link.
        try:
            assert tokens().verify(forged) == LINK
        except NotAuthenticated:
            return
        assert place == len(token) - 1


@given(st.text(max_size=2000))
def test_no_text_opens_one_by_chance(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens().verify(text)
