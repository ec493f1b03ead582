"""Whether a chain of entries is whole, whatever is done to it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.governance.audit.entries import Act, Entry, Head, document_of, entry_of, head_of
from app.governance.audit.verification import Break, Verification
from app.hash_chain import digest_of
from tests.job_builders import NOON, TENANT

NUMBER = 8
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DETAILS = st.dictionaries(st.text(), SCALARS | st.lists(SCALARS, max_size=3), max_size=4)


def a_chain(number: int = NUMBER) -> list[Entry]:
    chain, head = [], Head()
    for place in range(number):
        at = NOON + timedelta(seconds=place)
        act = Act(f"id-{place}", TENANT, at, "budget.put", "a-key", {"name": f"agent-{place}"}, {"limit": place})
        chain.append(act.after(head))
        head = head_of(chain[-1])
    return chain


def verified(chain: list[Any], *anchors: Head) -> Verification:
    verification = Verification(anchors=anchors)
    for entry in chain:
        verification.take(entry)
    verification.finish()
    return verification


def break_of(chain: list[Any], *anchors: Head) -> Break | None:
    return verified(chain, *anchors).broken


def test_a_whole_chain_is_proved_up_to_its_head_and_against_every_anchor_of_it() -> None:
    chain = a_chain()

    verification = verified(chain, *map(head_of, chain))

    assert verification.broken is None
    assert verification.head == head_of(chain[-1])
    assert break_of([]) is None


def _without(chain: list[Entry], place: int) -> list[Entry]:
    return chain[:place] + chain[place + 1 :]


def _twice(chain: list[Entry], place: int) -> list[Entry]:
    return [*chain[: place + 1], *chain[place:]]


def _swapped(chain: list[Entry], place: int) -> list[Entry]:
    return [*chain[:place], chain[place + 1], chain[place], *chain[place + 2 :]]


def _forged(chain: list[Entry], place: int) -> list[Entry]:
    """With a hash that fits the entry, as somebody would do it who knows how."""
    forged = {**chain[place], "actor": "nobody"}
    return [*chain[:place], {**forged, "hash": digest_of(forged)}, *chain[place + 1 :]]


@given(place=st.integers(0, NUMBER - 2), edit=st.sampled_from([_without, _twice, _swapped, _forged]))
def test_no_entry_can_be_removed_doubled_swapped_or_forged_before_the_last(
    place: int, edit: Callable[[list[Entry], int], list[Entry]]
) -> None:
    found = break_of(edit(a_chain(), place))

    assert found is not None
    assert found.seq in {place + 1, place + 2}


@given(place=st.integers(0, NUMBER - 1), name=st.sampled_from(sorted(a_chain(1)[0])), value=SCALARS)
def test_no_field_of_an_entry_can_be_changed(place: int, name: str, value: Any) -> None:
    chain = a_chain()
    chain[place] = {**chain[place], name: value}

    found = break_of(chain)

    assert (found is None) == (json.dumps(chain[place]) == json.dumps(a_chain()[place]))
    assert found is None or found.seq == place + 1


@given(entry=st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_what_is_no_entry_breaks_the_chain_and_nothing_else(entry: Any) -> None:
    assert break_of([*a_chain(3), entry]) is not None
    assert break_of([*a_chain(3), entry]).seq == 4  # type: ignore[union-attr]


@given(cut=st.integers(0, NUMBER - 1))
def test_a_chain_that_ends_before_its_anchor_is_told(cut: int) -> None:
    chain = a_chain()

    assert break_of(chain[:cut]) is None
    found = break_of(chain[:cut], head_of(chain[-1]))
    assert found is not None
    assert found.seq == cut + 1


def test_an_entry_of_another_tenant_is_told() -> None:
    chain = a_chain(3)
    foreign = {**chain[1], "tenant_id": "globex"}
    chain[1] = {**foreign, "hash": digest_of(foreign)}

    assert break_of(chain) == Break(2, "it is of another tenant")


@given(detail=DETAILS, name=st.text(st.characters(codec="utf-8"), max_size=20))
def test_an_entry_comes_back_from_the_store_and_from_an_export_as_it_was(detail: dict[str, Any], name: str) -> None:
    entry = Act("id", TENANT, NOON, "a.b", "a-key", {"name": name}, detail).after(Head())

    stored = entry_of(document_of(entry))

    assert stored == json.loads(json.dumps(entry))
    assert break_of([stored]) is None


@pytest.mark.parametrize("text", ["", "1", "1:", f"-1:{'a' * 64}", f"01:{'a' * 64}", f"1:{'A' * 64}", f"1:{'a' * 63}"])
def test_what_is_no_head_is_no_anchor(text: str) -> None:
    with pytest.raises(Invalid, match="SEQ:HASH"):
        Head.parse(text)


def test_a_head_is_read_as_it_is_written() -> None:
    head = head_of(a_chain()[-1])

    assert Head.parse(f" {head}\n") == head
