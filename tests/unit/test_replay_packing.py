"""Whatever an attempt exchanged is the same after it was packed and unpacked, and equal recordings are equal bytes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.replay.models import (
    CallKind,
    Equipment,
    RecordedCall,
    RecordedError,
    RecordedMessage,
    RecordedRequest,
    RecordedRun,
    Recording,
    RecordingUnreadable,
)
from app.replay.tape import masked_data

TEXTS = st.text(max_size=30)
FLOATS = st.floats(min_value=0, max_value=10**6, allow_nan=False)
# As JSON has it: numbers as large as those of JavaScript.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
MESSAGES = st.builds(RecordedMessage, role=st.sampled_from(["system", "user", "assistant"]), content=TEXTS)
ERRORS = st.none() | st.builds(RecordedError, type=TEXTS, message=TEXTS, kind=st.none() | TEXTS)
CALLS = st.builds(
    RecordedCall,
    kind=st.sampled_from(CallKind),
    name=TEXTS,
    asked=OBJECTS,
    messages=st.lists(MESSAGES, max_size=2).map(tuple),
    response=JSON,
    error=ERRORS,
    tokens=st.dictionaries(TEXTS, st.integers(0, 10**6), max_size=2),
    duration_ms=FLOATS,
)
REQUESTS = st.builds(RecordedRequest, text=TEXTS, inputs=OBJECTS, feedback=st.none() | TEXTS)
RUNS = st.builds(
    RecordedRun,
    run_id=TEXTS,
    agent_name=TEXTS,
    agent_role=TEXTS,
    request=st.none() | REQUESTS,
    equipment=st.builds(Equipment, has_search=st.booleans(), tools=st.lists(TEXTS, max_size=2).map(tuple)),
    calls=st.lists(CALLS, max_size=3).map(tuple),
    output=st.none() | OBJECTS,
    error=ERRORS,
    usd=FLOATS,
    prompts=st.dictionaries(TEXTS, TEXTS, max_size=2),
)
RECORDINGS = st.builds(
    Recording,
    task_id=TEXTS,
    attempt=st.integers(1, 10**6),
    runs=st.lists(RUNS, max_size=3).map(tuple),
    made_by=st.none() | TEXTS,
)


@settings(max_examples=30)
@given(RECORDINGS)
def test_what_is_packed_comes_out_as_it_was(recording: Recording) -> None:
    packed = recording.packed()

    again = Recording.unpacked(packed)

    assert again == recording
    assert again.packed() == packed
    assert [call.digest for run in again.runs for call in run.calls] == [
        call.digest for run in recording.runs for call in run.calls
    ]


@settings(max_examples=30)
@given(RECORDINGS, st.data())
def test_a_recording_that_lost_its_end_is_refused(recording: Recording, data: st.DataObject) -> None:
    packed = recording.packed()
    cut = data.draw(st.integers(0, len(packed) - 1))

    with pytest.raises(RecordingUnreadable):
        Recording.unpacked(packed[:cut])


@given(st.text(st.characters(exclude_categories=()), max_size=20), OBJECTS)
def test_what_is_masked_can_be_packed_whatever_came_from_outside(text: str, known: dict[str, Any]) -> None:
    request = RecordedRequest(text=masked_data(text, str), inputs=masked_data({**known, text: [text]}, str))
    run = RecordedRun(run_id="r", agent_name="a", agent_role="executor", request=request)

    recording = Recording(task_id="t", attempt=1, runs=(run,))

    assert Recording.unpacked(recording.packed()) == recording
