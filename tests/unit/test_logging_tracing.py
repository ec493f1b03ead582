import pytest

from app.observability.context import current_trace_id, current_traceparent, traced
from app.observability.tracing import TraceContext, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_traceparent_is_read_and_written_alike() -> None:
    header = f"00-{TRACE}-{SPAN}-01"

    trace = parse_traceparent(header)

    assert trace == TraceContext(TRACE, SPAN, sampled=True)
    assert trace.traceparent == header


def test_an_unsampled_trace_stays_unsampled() -> None:
    trace = parse_traceparent(f"00-{TRACE}-{SPAN}-00")

    assert trace is not None
    assert trace.child("a" * 16).traceparent == f"00-{TRACE}-{'a' * 16}-00"


def test_members_that_a_later_version_appends_are_ignored() -> None:
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-comes-later") == TraceContext(TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 600,
    ],
)
def test_an_invalid_traceparent_is_no_traceparent(header: str) -> None:
    assert parse_traceparent(header) is None


def test_work_inside_a_trace_carries_it_onwards() -> None:
    trace = TraceContext(TRACE, SPAN)

    with traced(trace):
        inside = current_traceparent(), current_trace_id()

    assert inside == (trace.traceparent, TRACE)
    assert current_traceparent() is None
