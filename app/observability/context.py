"""What belongs to every log line of the current request or job, carried by the asyncio task itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any

from app.observability.tracing import TraceContext

Fields = Mapping[str, Any]

_EMPTY: Fields = MappingProxyType({})
_fields: ContextVar[Fields] = ContextVar("log_fields", default=_EMPTY)
_trace: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line logged inside carries ``fields``; afterwards the context is what it was before."""
    token = enter(fields)
    try:
        yield
    finally:
        leave(token)


def enter(fields: Fields) -> Token[Fields]:
    """`bound` for code that cannot afford a generator per request; give the token to `leave`."""
    return _fields.set({**_fields.get(), **fields})


def leave(token: Token[Fields]) -> None:
    _fields.reset(token)


def bind(**fields: Any) -> None:
    """Add fields for the rest of the surrounding `bound` block, for what is learned on the way (the tenant)."""
    _fields.set({**_fields.get(), **fields})


def current_fields() -> Fields:
    return _fields.get()


def current_request_id() -> str | None:
    return _fields.get().get("request_id")


def current_trace_id() -> str | None:
    return _fields.get().get("trace_id")


@contextmanager
def traced(trace: TraceContext) -> Iterator[None]:
    """Work inside belongs to ``trace``: its id is logged, and `current_traceparent` carries it onwards."""
    token = _trace.set(trace)
    try:
        with bound(trace_id=trace.trace_id):
            yield
    finally:
        _trace.reset(token)


def enter_trace(trace: TraceContext) -> Token[TraceContext | None]:
    return _trace.set(trace)


def leave_trace(token: Token[TraceContext | None]) -> None:
    _trace.reset(token)


def current_traceparent() -> str | None:
    """The header that carries this trace to the next process, None outside of a trace."""
    trace = _trace.get()
    return trace.traceparent if trace else None
