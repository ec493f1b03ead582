import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from app.errors import NotFound
from app.observability.context import bind, bound, current_fields, current_request_id, current_trace_id
from app.observability.logging import PipelineHandler, configure_logging, get_logger
from app.settings import load_settings

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield io.StringIO()
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    configure_logging(load_settings(environment="test"), service="api", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_time_level_name_and_logger(lines: Lines) -> None:
    get_logger("app.jobs").info("job.claimed", attempt=2)

    (line,) = lines()
    assert line["event"] == "job.claimed"
    assert (line["level"], line["logger"], line["service"], line["attempt"]) == ("info", "app.jobs", "api", 2)
    assert line["timestamp"].endswith("Z")


def test_fields_of_the_context_are_on_every_line_inside_and_on_none_outside(lines: Lines) -> None:
    log = get_logger("app")

    with bound(request_id="r1", trace_id="t1"):
        bind(task_id="k1")
        log.info("inside")
        inside = (current_request_id(), current_trace_id())
    log.info("outside")

    first, second = lines()
    assert (first["request_id"], first["trace_id"], first["task_id"]) == ("r1", "t1", "k1")
    assert not {"request_id", "trace_id", "task_id"} & set(second)
    assert inside == ("r1", "t1")
    assert not current_fields()


def test_what_an_event_says_itself_wins_over_the_context(lines: Lines) -> None:
    with bound(task_id="outer"):
        get_logger("app").info("x", task_id="inner")

    assert lines()[0]["task_id"] == "inner"


def test_an_event_cannot_overwrite_the_time_or_the_service(lines: Lines) -> None:
    get_logger("app").info("x", timestamp="never", service="other")

    (line,) = lines()
    assert line["timestamp"] != "never"
    assert line["service"] == "api"


def test_events_below_the_configured_level_are_not_written(stream: io.StringIO) -> None:
    configure_logging(load_settings(environment="test", log_level="WARNING"), service="api", stream=stream)

    get_logger("app").info("quiet")
    get_logger("app").warning("loud")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_records_of_the_standard_library_take_the_same_way(lines: Lines) -> None:
    with bound(request_id="r1"):
        logging.getLogger("uvicorn.error").info("Started server process [%d]", 42)

    (line,) = lines()
    assert line["event"] == "Started server process [42]"
    assert (line["logger"], line["level"], line["request_id"]) == ("uvicorn.error", "info", "r1")


@pytest.mark.parametrize("name", ["httpx", "httpx2", "openai._base_client", "pymongo.command", "anything.else"])
def test_libraries_that_log_urls_and_bodies_are_heard_from_warning_on(lines: Lines, name: str) -> None:
    logging.getLogger(name).info("GET https://example.com/?q=private")
    logging.getLogger(name).debug("body")

    assert lines() == []


def test_the_servers_own_access_log_is_silent(lines: Lines) -> None:
    logging.getLogger("uvicorn.access").error("GET /v1/tasks?token=abc")

    assert lines() == []


def test_an_exception_is_told_with_its_cause_and_its_place(lines: Lines) -> None:
    try:
        try:
            raise OSError("connection refused")
        except OSError as error:
            raise NotFound("no task with this id") from error
    except NotFound:
        get_logger("app").exception("x.failed")

    (line,) = lines()
    assert line["error_type"] == "NotFound"
    assert "OSError: connection refused" in line["exception"]
    assert line["exception"].index("OSError") < line["exception"].index("NotFound: no task")
    assert "test_logging_pipeline.py" in line["exception"]


def test_a_group_of_exceptions_tells_each_of_them(lines: Lines) -> None:
    get_logger("app").error("x", exc_info=ExceptionGroup("two", [OSError("first"), NotFound("second")]))

    told = lines()[0]["exception"]
    assert "OSError: first" in told
    assert "NotFound: second" in told


def test_configuring_again_replaces_the_output_instead_of_doubling_it(stream: io.StringIO) -> None:
    old, settings = io.StringIO(), load_settings(environment="test")
    log = get_logger("app")
    configure_logging(settings, service="api", stream=old)
    log.info("first")

    configure_logging(settings, service="api", stream=stream)
    log.info("second")
    logging.getLogger("some.library").warning("third")

    assert [json.loads(line)["event"] for line in old.getvalue().splitlines()] == ["first"]
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["second", "third"]


def test_a_terminal_gets_readable_lines(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure_logging(load_settings(environment="test"), service="api", stream=stream)

    get_logger("app").info("job.claimed", attempt=2)

    assert "job.claimed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_reader_that_went_away_does_not_stop_the_work(stream: io.StringIO) -> None:
    configure_logging(load_settings(environment="test"), service="api", stream=stream)
    stream.close()

    get_logger("app").info("nobody hears")
    logging.getLogger("some.library").warning("nobody hears")


def test_a_line_that_cannot_be_made_does_not_stop_the_work_either(lines: Lines) -> None:
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no")

    get_logger("app").info("x", value=Hostile(a=1))

    assert lines() == [{"level": "error", "event": "log.failed", "error_type": "RuntimeError"}]


def test_a_broken_record_of_a_library_is_told_without_its_arguments(lines: Lines) -> None:
    record = logging.LogRecord("some.library", logging.WARNING, __file__, 1, "%d items", ("private words",), None)

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PipelineHandler):
            handler.emit(record)

    assert lines()[0]["event"] == "%d items"


def test_a_tap_gets_every_line_as_it_was_written_redacted(stream: io.StringIO) -> None:
    tapped: list[Any] = []
    settings = load_settings(environment="test", openai_api_key="a-configured-secret")
    configure_logging(settings, service="worker", stream=stream, tap=tapped.append)

    with bound(tenant_id="acme"):
        get_logger("app").info("it.said", note="with a-configured-secret", prompt="hello", attempt=2)
    logging.getLogger("elsewhere").warning("also this")

    assert tapped == [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (tapped[0]["note"], tapped[0]["prompt"], tapped[0]["tenant_id"]) == ("with [redacted]", "[redacted]", "acme")
    assert tapped[1]["event"] == "also this"


def test_a_tap_that_fails_costs_the_line_and_not_the_work(stream: io.StringIO) -> None:
    def fail(_line: Any) -> None:
        raise RuntimeError("full")

    configure_logging(load_settings(environment="test"), service="worker", stream=stream, tap=fail)

    get_logger("app").info("it.said")

    assert json.loads(stream.getvalue())["event"] == "log.failed"
