import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, SecretStr, ValidationError

from app.errors import Unavailable
from app.observability.failures import describe, render
from app.observability.logging import configure_logging, get_logger
from app.observability.redaction import MASK, Redactor, secrets_of
from app.settings import load_settings

KEY, PASSWORD, MODEL_KEY = "canary-key-4711", "canary-p@ss-0815", "canary-model-key-99"
PROMPT = "canary prompt: write to my lawyer"
NAMES: dict[str, int] = {}
SETTINGS = load_settings(
    environment="test",
    api_keys=f"{KEY}:acme",
    openai_api_key=MODEL_KEY,
    mongo_uri="mongodb://user:canary-p%40ss-0815@db.example.com/",
)


@pytest.fixture
def written() -> Iterator[Callable[[], str]]:
    root = logging.getLogger()
    level, handlers, stream = root.level, list(root.handlers), io.StringIO()
    configure_logging(SETTINGS, service="api", stream=stream)
    yield stream.getvalue
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def assert_silent(text: str) -> None:
    assert text
    assert "canary" not in text
    for line in text.splitlines():
        json.loads(line)


def test_the_secrets_are_every_key_token_and_password_of_the_settings() -> None:
    assert secrets_of(SETTINGS) == {KEY, MODEL_KEY, PASSWORD, "canary-p%40ss-0815"}


@pytest.mark.parametrize("secret", [KEY, PASSWORD, MODEL_KEY, "canary-p%40ss-0815"])
def test_a_configured_secret_is_masked_wherever_it_stands(written: Callable[[], str], secret: str) -> None:
    log, sentence = get_logger("app"), f"failed for {secret}"

    log.info(sentence, note=f"x{secret}y", nested={"a": [secret, {"b": secret}]})
    log.warning("with %s", secret)
    logging.getLogger("some.library").error("failed for %s", secret)
    logging.getLogger("some.library").error(sentence)
    log.error("x", exc_info=OSError(f"cannot open {secret}"))
    log.error("x", error=Unavailable(f"cannot open {secret}"))

    assert_silent(written())


@pytest.mark.parametrize(
    "key", ["prompt", "input_text", "task_text", "messages", "body", "content", "output", "raw_output", "result"]
)
def test_payload_is_refused_by_its_name(written: Callable[[], str], key: str) -> None:
    get_logger("app").info("x", **{key: PROMPT}, nested={key: [PROMPT], key.upper(): PROMPT})

    assert_silent(written())
    assert json.loads(written())[key] == MASK


@pytest.mark.parametrize(
    "key",
    [
        "Authorization",
        "api_key",
        "X-API-Key",
        "token",
        "access_token",
        "password",
        "client_secret",
        "cookie",
        "mongo_dsn",
    ],
)
def test_values_of_secret_names_are_masked(written: Callable[[], str], key: str) -> None:
    get_logger("app").info("x", headers={key: "canary"}, **{key: "canary"})

    assert_silent(written())


def test_counts_of_tokens_are_no_secrets() -> None:
    redactor = Redactor()

    assert redactor.entry("prompt_tokens", 5) == 5
    assert redactor.entry("token_usage", {"total": 7}) == {"total": 7}


@pytest.mark.parametrize(
    "text",
    [
        "connect to mongodb://user:canary@host/db",
        "redis://:canary@host",
        "Authorization: Bearer canary.canary",
        "sent bearer canarycanary",
        "GET /v1/tasks/1/events?token=canary&x=1",
        "openai said: api_key='canary'",
        '{"password": "canary"}',
        "key sk-canary-canary-canary",
        "key tvly-canarycanary",
        "1 validation error\ntask\n  wrong [type=int, input_value='canary, input_type=x', input_type=str]",
        "E11000 duplicate key, full error: {'op': {'input_text': 'canary'}}",
        "future: <Task finished exception=ValueError('canary (canary)')>",
    ],
)
def test_secrets_and_values_are_found_by_their_form(text: str) -> None:
    assert "canary" not in Redactor().text(text)


def test_long_texts_are_cut_and_never_in_the_middle_of_a_secret() -> None:
    text = Redactor([KEY]).text("x" * 2040 + KEY + "y" * 5000)

    assert len(text) < 2200
    assert "canary" not in text


def test_an_unknown_object_is_named_by_its_type_only() -> None:
    class Job:
        def __repr__(self) -> str:
            return PROMPT

    redactor = Redactor()

    assert redactor.value(Job()) == "<Job>"
    assert redactor.value([SecretStr("canary"), b"canary"]) == ["<SecretStr>", "<bytes>"]
    assert redactor.value({"a": {"b": {"c": {"d": {"e": "canary"}}}}}) == {"a": {"b": {"c": {"d": "<dict>"}}}}


def test_plain_values_keep_their_meaning() -> None:
    redactor = Redactor()

    assert redactor.value(datetime(2026, 5, 1, tzinfo=UTC)) == "2026-05-01T00:00:00.000Z"
    assert redactor.value(timedelta(seconds=1.5)) == 1.5
    assert redactor.value(UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
    assert redactor.value(Path("/tmp/x")) == "/tmp/x"  # noqa: S108
    assert redactor.value(float("inf")) == "inf"
    assert redactor.value((1, True, None, 2.5)) == [1, True, None, 2.5]


class Model(BaseModel):
    count: int


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"count": PROMPT})
    return caught.value


def test_a_validation_error_is_told_by_type_and_location() -> None:
    assert describe(validation_error()) == "ValidationError: count (int_parsing)"


def test_a_refused_request_is_told_without_its_body() -> None:
    error = RequestValidationError(validation_error().errors(), body={"count": PROMPT})

    assert "canary" not in render(error)
    assert "count (int_parsing)" in render(error)


def test_python_quotes_the_values_it_complains_about_and_we_do_not(written: Callable[[], str]) -> None:
    log = get_logger("app")

    for provoke in (
        lambda: int(PROMPT),
        lambda: float(PROMPT),
        lambda: NAMES[PROMPT],
        lambda: json.loads("{" + PROMPT),
    ):
        try:
            provoke()
        except (ValueError, KeyError):
            log.exception("x.failed")
    log.error("x", exc_info=validation_error())
    log.error("x", error=validation_error())

    assert_silent(written())


def test_errors_that_model_libraries_raise_lose_their_message() -> None:
    class ProviderError(Exception):
        status_code = 429

    ProviderError.__module__ = "openai"

    assert describe(ProviderError(PROMPT)) == "ProviderError: status 429"


def test_errors_raised_inside_such_libraries_lose_it_as_well() -> None:
    names: dict[str, Any] = {"__name__": "langchain_core.parsers"}
    exec("def parse(text):\n    raise ValueError('Invalid output: ' + text)", names)  # noqa: S102

    with pytest.raises(ValueError, match="canary") as caught:
        names["parse"](PROMPT)

    assert describe(caught.value) == "ValueError"


def test_local_variables_never_reach_the_log(written: Callable[[], str]) -> None:
    def fail() -> None:
        secret_text = PROMPT
        raise RuntimeError("failed" + secret_text[:0])

    try:
        fail()
    except RuntimeError:
        get_logger("app").exception("x")

    assert_silent(written())


def test_warnings_of_chatty_libraries_are_withheld_but_located(written: Callable[[], str]) -> None:
    logging.getLogger("langchain_core.callbacks").warning("Error in callback: %s", PROMPT)
    logging.getLogger("openai").error(PROMPT)

    assert_silent(written())
    assert "test_logging_redaction.py" in written()


def test_what_celery_tells_of_a_task_hides_arguments_and_results(written: Callable[[], str]) -> None:
    logging.getLogger("celery.app.trace").error(
        "Task %(name)s[%(id)s] raised: %(exc)s", {"name": "n", "id": "i", "exc": PROMPT, "args": PROMPT, "kwargs": "{}"}
    )

    assert_silent(written())
    assert "Task n[i] raised" in written()


def test_objects_and_exceptions_in_a_librarys_line_are_not_printed(written: Callable[[], str]) -> None:
    logging.getLogger("some.library").error("failed on %s with %s", {"text": PROMPT}, validation_error())

    assert_silent(written())


def test_a_hostile_text_costs_no_noticeable_time() -> None:
    redactor, worst = Redactor([KEY]), ["token" + " " * 60_000, "://" * 20_000, "exception=a(" * 5_000, "'" * 60_000]

    for text in worst:
        assert len(redactor.text(text)) < 2200
        assert len(describe(ValueError(text))) < 400
