from datetime import UTC, datetime, timedelta

import pytest

from app.llm.provider_errors import retry_after

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


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
        ({}, None),
    ],
)
def test_the_providers_wait_is_read_in_every_form(headers: dict[str, str], wait: timedelta | None) -> None:
    assert retry_after(headers, NOON) == wait
