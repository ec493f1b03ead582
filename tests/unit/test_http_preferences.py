from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from app.http.preferences import PreferredWait, parse_prefer, preference_applied
from app.http.problems import install_problem_handlers


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("wait=5", 5),
        ("Wait = 5", 5),
        ('wait="7"', 7),
        ("respond-async, wait=5", 5),
        ("wait=5; foo=bar, handling=lenient", 5),
        ("wait=5, wait=9", 5),
        ("wait=x, wait=9", 9),
        ("wait=30", 30),
        ("wait=31", 30),
        ("wait=999999999", 30),
        ("wait=99999999999999", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait", 0),
        ("waiting=5", 0),
        ("return=minimal", 0),
        (",,;=,", 0),
        ("x" * 5000 + ", wait=5", 0),
    ],
)
def test_the_wait_preference_is_read_and_everything_else_ignored(header: str, seconds: int) -> None:
    assert parse_prefer(header) == timedelta(seconds=seconds)


async def ask(query: str = "", **headers: str) -> httpx.Response:
    app = FastAPI()

    @app.get("/")
    async def wait(wait: PreferredWait) -> float:
        return wait.total_seconds()

    install_problem_handlers(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(f"/?{query}", headers=headers)


async def test_the_query_and_the_header_say_how_long_to_wait_and_the_query_wins() -> None:
    assert (await ask()).json() == 0
    assert (await ask(prefer="wait=4")).json() == 4
    assert (await ask("wait=2", prefer="wait=4")).json() == 2
    assert (await ask("wait=500")).json() == 30


@pytest.mark.parametrize("query", ["wait=x", "wait=-1", "wait=1.5", "wait="])
async def test_a_wrong_query_is_refused(query: str) -> None:
    answer = await ask(query)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "wait"


def test_a_wish_that_was_heard_is_confirmed() -> None:
    assert preference_applied(timedelta(seconds=5)) == {"Preference-Applied": "wait=5"}
    assert preference_applied(timedelta()) == {}
