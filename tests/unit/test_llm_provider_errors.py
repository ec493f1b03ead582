from datetime import UTC, datetime, timedelta

import pytest

from app.llm.provider_errors import retry_after, wait_of

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "3"}, timedelta(seconds=3)),
        ({"retry-after": "0.5"}, timedelta(milliseconds=500)),
        ({"retry-after-ms": "250", "retry-after": "1"}, timedelta(milliseconds=250)),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, timedelta(seconds=30)),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, timedelta()),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": f"Sat, 21 Nov {'9' * 30} 12:00:30 GMT"}, None),
        ({"retry-after": f"Sat, 21 Nov 2026 12:00:30 +{'9' * 30}"}, None),
        ({}, None),
    ],
)
def test_the_providers_wait_is_read_in_every_form(headers: dict[str, str], wait: timedelta | None) -> None:
    assert retry_after(headers, NOON) == wait


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, timedelta(minutes=6)),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "17ms"}, timedelta(milliseconds=17)),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, timedelta(seconds=3723.5)),
        # What is not used up does not have to be waited for.
        ({"x-ratelimit-remaining-tokens": "12", "x-ratelimit-reset-tokens": "6m0s"}, None),
        ({"x-ratelimit-reset-tokens": "6m0s"}, None),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:30Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:10Z",
            },
            timedelta(seconds=30),
        ),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-11-21"}, timedelta()),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "99999999h"}, timedelta(days=1)),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m", "retry-after": "3"}, 3 * SECOND),
        ({}, None),
    ],
)
def test_without_retry_after_a_429_is_waited_for_until_what_is_used_up_is_filled(
    headers: dict[str, str], wait: timedelta | None
) -> None:
    assert wait_of(headers, NOON) == wait
