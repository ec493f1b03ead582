"""Structured logging: one JSON object per line on stdout, or readable lines on a terminal.

Our own events come through structlog, everybody else's through the standard library; both pass the same pipeline,
so nothing reaches the output unredacted.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from app.clock import to_iso, utc_now
from app.observability.context import current_fields
from app.observability.failures import CHATTY_PACKAGES, describe, package_of, render
from app.observability.redaction import MASK, Redactor, secrets_of
from app.settings import Settings

Event = MutableMapping[str, Any]
Tap = Callable[[Mapping[str, Any]], None]
Renderer = Callable[[Any, str, Event], str | bytes | bytearray | Mapping[str, Any] | tuple[Any, ...]]

# Libraries log URLs, commands and request bodies below WARNING. These two are worth more than that.
_WORTH_INFO = ("uvicorn", "celery")
# sqlglot quotes the statements it only partly understands.
_SILENCED = ("uvicorn.access", "sqlglot")
_QUIET = ("celery.app.trace", "celery.worker.strategy", "httpx", "httpx2", "openai", "pymongo", "langchain")
# The SDK of MCP repeats what servers say, at their pace; `mcp.…` events of our own tell what happened.
_MUTED = ("mcp", "client")
# Celery formats what a task was given, raised and returned into its lines.
_HIDDEN_ARGUMENTS = frozenset({"args", "kwargs", "exc", "traceback", "return_value"})
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger of events: ``log.info("job.claimed", attempt=2)``; ids come from the context."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure_logging(
    settings: Settings, *, service: str, stream: TextIO | None = None, tap: Tap | None = None
) -> None:
    """Send all logging of this process to ``stream`` (stdout). May be called again: the last call wins.

    ``tap`` is given every line as it was written, redacted; it must neither wait nor log.
    """
    output = stream or sys.stdout
    renderer = cast("Renderer", structlog.dev.ConsoleRenderer()) if output.isatty() else _render_json
    pipeline = Pipeline(Redactor(secrets_of(settings)), renderer, service=service, tap=tap)
    writer = LineWriter(output)
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[pipeline],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=writer.named,
        # Module-level loggers must follow a later call, and the tests' capture.
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(PipelineHandler(pipeline, writer), level)


def _take_over_standard_logging(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for previous in [h for h in root.handlers if isinstance(h, PipelineHandler)]:
        root.removeHandler(previous)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    for name in _WORTH_INFO:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in _MUTED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in _SILENCED:
        logging.getLogger(name).disabled = True
    logging.captureWarnings(True)


class Pipeline:
    """Turns an event into one line: context and time added, exceptions told without values, everything redacted."""

    def __init__(self, redactor: Redactor, renderer: Renderer, *, service: str, tap: Tap | None = None) -> None:
        self._redactor = redactor
        self._renderer = renderer
        self._service = service
        self._tap = tap

    def __call__(self, logger: Any, level: str, event: Event) -> str:
        try:
            line = self._line(logger.name, level, event)
            if self._tap is not None:
                self._tap(line)
            return str(self._renderer(logger, level, line))
        except Exception as error:  # noqa: BLE001 - a line that cannot be written must not fail the work it tells of
            return f'{{"level":"error","event":"log.failed","error_type":"{type(error).__name__}"}}'

    def _line(self, name: str, level: str, event: Event) -> Event:
        fields = {**current_fields(), **event}
        entry = self._redactor.entry
        line: Event = {
            "timestamp": to_iso(utc_now()),
            "level": level,
            "event": self._redactor.text(str(fields.pop("event", ""))),
            "logger": name,
            "service": self._service,
        }
        error = _exception(fields.pop("exc_info", None))
        for key, value in fields.items():
            line.setdefault(key, entry(key, value))
        if error is not None:
            line["error_type"] = type(error).__name__
            line["exception"] = self._traceback(error)
        return line

    def _traceback(self, error: BaseException) -> str:
        # Line by line: the limit for one text would cut the end, which says what happened.
        return "\n".join(self._redactor.text(line) for line in render(error).splitlines())


def _exception(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return cast("BaseException | None", exc_info[1])
    return sys.exc_info()[1] if exc_info else None


def _render_json(_logger: Any, _level: str, event: Event) -> str:
    return _ENCODER.encode(event)


class LineWriter:
    """Writes whole lines from any thread. A reader that went away costs the lines, never the work."""

    def __init__(self, stream: TextIO, name: str = "", lock: AbstractContextManager[Any] | None = None) -> None:
        self.name = name
        self._stream = stream
        self._lock = lock or threading.Lock()

    def named(self, name: str = "") -> "LineWriter":
        """The same output for the logger called ``name``."""
        return LineWriter(self._stream, name, self._lock)

    def msg(self, line: str) -> None:
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = log = msg


class PipelineHandler(logging.Handler):
    """Carries the records of other libraries into the pipeline."""

    def __init__(self, pipeline: Pipeline, writer: LineWriter) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        event: Event = {"event": _message(record), "exc_info": record.exc_info}
        self._writer.msg(self._pipeline(self._writer.named(record.name), record.levelname.lower(), event))


def _message(record: logging.LogRecord) -> str:
    if package_of(record.name) in CHATTY_PACKAGES:
        return f"message withheld, see {record.module}.py line {record.lineno}"
    if isinstance(record.args, Mapping):
        arguments: Any = {key: _argument(key, value) for key, value in record.args.items()}
    else:
        arguments = tuple(_argument("", value) for value in record.args or ())
    try:
        return str(record.msg) % arguments if arguments else str(record.msg)
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _argument(key: str, value: Any) -> Any:
    if key in _HIDDEN_ARGUMENTS:
        return MASK
    if isinstance(value, BaseException):
        return describe(value)
    return value if value is None or isinstance(value, str | int | float) else f"<{type(value).__name__}>"
