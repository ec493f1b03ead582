"""What an answer of a receiver proves about the effect."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.effects.delivery import post_json
from app.effects.errors import EffectInterrupted, EffectRefused, ReceiverBusy

URL = "https://receiver.example.com/messages"


async def post(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> Any:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        return await post_json(client, URL, {"text": "hello"}, key="key-1", headers={"X-Tool": "mail"})


async def test_the_key_and_the_body_are_sent_and_the_answer_comes_back() -> None:
    seen: list[httpx.Request] = []

    answer = await post(httpx.Response(201, json={"id": 7}), seen)

    (request,) = seen
    assert answer == {"id": 7}
    assert (request.method, str(request.url), request.content) == ("POST", URL, b'{"text":"hello"}')
    assert (request.headers["Idempotency-Key"], request.headers["X-Tool"]) == ("key-1", "mail")


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, text="<html>")])
async def test_a_success_that_says_nothing_readable_is_a_success(answer: httpx.Response) -> None:
    assert await post(answer) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_a_refusal_proves_that_it_did_not_happen(status: int) -> None:
    with pytest.raises(EffectRefused, match=str(status)) as raised:
        await post(httpx.Response(status, text="ada@example.com is unknown"))

    assert not raised.value.retryable
    assert "ada" not in raised.value.message


@pytest.mark.parametrize("answer", [httpx.Response(429), httpx.ConnectError("x"), httpx.ConnectTimeout("x")])
async def test_what_was_never_taken_can_be_sent_later(answer: httpx.Response | Exception) -> None:
    with pytest.raises(ReceiverBusy):
        await post(answer)


@pytest.mark.parametrize(("status", "error"), [(429, ReceiverBusy), (503, EffectInterrupted)])
async def test_the_receivers_wish_to_be_left_alone_is_passed_on(status: int, error: type[EffectRefused]) -> None:
    with pytest.raises(error) as raised:
        await post(httpx.Response(status, headers={"Retry-After": "7"}))

    assert raised.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("status", [302, 408, 409, 425, 500, 502, 503, 504])
async def test_these_answers_prove_nothing(status: int) -> None:
    with pytest.raises(EffectInterrupted, match=str(status)):
        await post(httpx.Response(status, headers={"Location": "/elsewhere"}))


@pytest.mark.parametrize("error", [httpx.ReadTimeout("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x")])
async def test_a_broken_exchange_proves_nothing(error: Exception) -> None:
    with pytest.raises(type(error)):
        await post(error)
