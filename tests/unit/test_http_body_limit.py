import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from app.errors import Invalid
from app.http.body_limit import BodyLimit, Documents
from app.http.json_text import MalformedJson, check_json
from app.http.problems import ProblemEdge, install_problem_handlers

LIMIT = 1000
JSON = {"Content-Type": "application/json"}
DOCUMENTS = Documents(2 * LIMIT, ("text/yaml",))
YAML = {"Content-Type": "text/yaml"}
EXACT = json.dumps({"a": "x" * (LIMIT - 9)}).encode()


def api() -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @app.post("/document")
    async def document(request: Request) -> int:
        return len(await request.body())

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.get("/size")
    async def get_size(request: Request) -> int:
        return len(await request.body())

    install_problem_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=LIMIT, documents={"/document": DOCUMENTS})
    app.add_middleware(ProblemEdge)
    return app


async def send(path: str = "/echo", method: str = "POST", **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api()), base_url="http://test") as client:
        return await client.request(method, path, **options)


async def chunks(size: int, seen: list[int]) -> AsyncIterator[bytes]:
    yield b'{"a": "'
    for _ in range(size // 100):
        seen.append(100)
        yield b"x" * 100
    yield b'"}'


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_body_of_exactly_the_limit_arrives_whole() -> None:
    answer = await send(content=EXACT, headers=JSON)

    assert len(EXACT) == LIMIT
    assert answer.json() == json.loads(EXACT)


async def test_one_byte_more_is_refused() -> None:
    answer = await send(content=EXACT[:-1] + b" }", headers=JSON)

    assert code_of(answer) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.json()["error"]["details"] == {"max_bytes": LIMIT}


async def test_an_announced_giant_is_refused_unread() -> None:
    seen: list[int] = []

    answer = await send(content=chunks(1000, seen), headers={**JSON, "Content-Length": str(10**12)})

    assert code_of(answer) == (413, "PAYLOAD_TOO_LARGE")
    assert seen == []


async def test_a_body_without_a_length_is_counted_and_cut_off_as_it_arrives() -> None:
    seen: list[int] = []

    answer = await send(content=chunks(100_000, seen), headers=JSON)

    assert code_of(answer) == (413, "PAYLOAD_TOO_LARGE")
    assert sum(seen) <= LIMIT + 100


async def test_a_small_body_in_pieces_arrives_whole() -> None:
    answer = await send(content=chunks(500, []), headers=JSON)

    assert answer.json() == {"a": "x" * 500}


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "9" * 30, "0x10"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api()), base_url="http://test") as client:
        request = client.build_request("POST", "/echo", content=b"{}")
        request.headers = httpx.Headers([(b"content-length", length.encode()), (b"content-type", b"application/json")])
        answer = await client.send(request)

    assert code_of(answer) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_only_json_in_utf8_is_accepted(content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    answer = await send(content=b'{"a": 1}', headers=headers)

    assert code_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
async def test_the_spelling_of_the_media_type_does_not_matter(content_type: str) -> None:
    answer = await send(content=b'{"a": 1}', headers={"Content-Type": content_type})

    assert answer.json() == {"a": 1}


async def test_a_compressed_body_is_refused_since_its_size_is_unknown() -> None:
    answer = await send(content=gzip.compress(b"{}"), headers={**JSON, "Content-Encoding": "gzip"})

    assert code_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_post_without_a_body_needs_no_media_type() -> None:
    assert (await send("/size")).json() == 0


async def test_a_get_with_a_body_is_held_to_the_same_rules() -> None:
    answer = await send("/size", "GET", content=b"x" * 2000)

    assert code_of(answer) == (413, "PAYLOAD_TOO_LARGE")
    assert (await send("/size", "GET")).json() == 0


async def test_a_document_has_a_limit_of_its_own_and_is_handed_on_unread() -> None:
    exact = b"{" * 2 * LIMIT

    assert (await send("/document", content=exact, headers=YAML)).json() == 2 * LIMIT
    answer = await send("/document", content=exact + b"{", headers=YAML)
    assert code_of(answer) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.json()["error"]["details"] == {"max_bytes": 2 * LIMIT}


async def test_a_document_of_another_media_type_is_refused_and_only_its_path_takes_it() -> None:
    answer = await send("/document", content=b"{}", headers=JSON)

    assert code_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.json()["detail"] == "send a document with Content-Type: text/yaml"
    assert code_of(await send("/echo", content=b"{}", headers=YAML)) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_broken_json_is_told_where_it_breaks_and_not_repeated() -> None:
    answer = await send(content=b'{"canary": 1,\n "b": }', headers=JSON)

    assert code_of(answer) == (422, "VALIDATION_ERROR")
    assert "line 2 column 7" in answer.json()["detail"]
    assert answer.json()["error"]["details"][0]["type"] == "json_invalid"
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e400]", "too large"),
        (b"[9223372036854775808]", "64 bits"),
        (b"[-9223372036854775809]", "64 bits"),
        (b"[" + b"9" * 5000 + b"]", "64 bits"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b'["\xff"]', "UTF-8 at byte 2"),
        ("[1]".encode("utf-16"), "UTF-8"),
        (b"\xef\xbb\xbf[]", "BOM"),
        (b"[" * 100_000, "deeper than 32"),
        (b"[" * 33 + b"]" * 33, "deeper than 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_others_would_read_differently_or_not_at_all_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(MalformedJson, match=told):
        check_json(text, max_depth=32)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 32 + b"]" * 32,
        b'{"a":' * 32 + b"1" + b"}" * 32,
        b"[9223372036854775807, -9223372036854775808, 1.5e300]",
        b'["\\ud83d\\ude00", "\\u0000"]',
        b'"text"',
    ],
)
def test_unusual_but_clear_json_passes(text: bytes) -> None:
    check_json(text, max_depth=32)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=200, deadline=None)
def test_no_bytes_whatever_raise_anything_but_invalid(text: bytes) -> None:
    try:
        check_json(text, max_depth=4)
    except Invalid:
        return
    json.loads(text)


async def test_a_client_that_trickles_is_cut_off() -> None:
    answered: list[Message] = []

    async def trickle() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def collect(message: Message) -> None:
        answered.append(message)

    guarded = ProblemEdge(BodyLimit(api(), max_bytes=LIMIT, read_timeout=0.01))
    await guarded({"type": "http", "method": "POST", "path": "/echo", "headers": []}, trickle, collect)

    assert answered[0]["status"] == 408


async def test_a_client_that_leaves_while_sending_gets_no_answer() -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def unexpected(*_: Any) -> None:
        raise AssertionError

    guarded = BodyLimit(unexpected, max_bytes=LIMIT)
    await guarded({"type": "http", "method": "POST", "path": "/echo", "headers": []}, leave, unexpected)


async def test_after_the_body_the_route_hears_of_the_disconnect() -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    heard: list[str] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])

    await BodyLimit(app, max_bytes=LIMIT)({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, app)  # type: ignore[arg-type]

    assert heard == ["http.request", "http.disconnect"]
