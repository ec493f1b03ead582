"""The countdown of a scope: what an end brings about, and what it costs."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.plan import Scope
from app.workflows.planner import End, Progress, ScopeState, begin, finish, first_failure, outcome, stop
from tests.workflow_builders import a_plan, a_step

LETTING_ON = [End.SUCCEEDED, End.SKIPPED, End.EXHAUSTED, End.TOLERATED]
BARRING = [End.FAILED, End.CANCELLED, End.BLOCKED]
TOLD = [*LETTING_ON, End.FAILED, End.CANCELLED]


class Counted(tuple[int, ...]):
    """Edges that tell how many of them were walked."""

    walked = 0

    def __iter__(self) -> Iterator[int]:
        for place in super().__iter__():
            Counted.walked += 1
            yield place


def a_scope(*needs: Iterable[int]) -> Scope:
    """Of steps by number, each with the numbers of those it needs."""
    return a_plan({f"s{place}": a_step(*(f"s{need}" for need in of)) for place, of in enumerate(needs)}).body


def graphs(most: int = 12) -> st.SearchStrategy[Scope]:
    """Needs go to any place, also to one behind in the document, and never round in a circle."""
    needs = st.lists(st.integers(0, most), max_size=4)
    return st.integers(1, most).flatmap(
        lambda size: st.builds(_graph, st.permutations(range(size)), st.lists(needs, min_size=size, max_size=size))
    )


def _graph(order: list[int], chosen: list[list[int]]) -> Scope:
    needs = {place: {order[one % rank] for one in chosen[place] if rank} for rank, place in enumerate(order)}
    return a_scope(*(needs[place] for place in range(len(order))))


def test_steps_without_needs_are_ready_at_once() -> None:
    _, progress = begin(a_scope([], [0], []))

    assert progress.ready == (0, 2)


def test_a_step_is_ready_when_the_last_of_its_needs_has_ended() -> None:
    scope = a_scope([], [], [0, 1])
    state, _ = begin(scope)

    assert finish(scope, state, 0, End.SUCCEEDED) == Progress()
    assert finish(scope, state, 1, End.SUCCEEDED) == Progress(ready=(2,))


@pytest.mark.parametrize("end", LETTING_ON)
def test_an_end_that_does_no_harm_lets_the_next_step_on(end: End) -> None:
    scope = a_scope([], [0])
    state, _ = begin(scope)

    assert finish(scope, state, 0, end).ready == (1,)


@pytest.mark.parametrize("end", BARRING)
def test_an_end_in_the_way_blocks_all_that_need_the_step(end: End) -> None:
    scope = a_scope([], [0], [1], [])
    state, _ = begin(scope)

    progress = finish(scope, state, 0, end)

    assert progress == Progress(blocked=(1, 2))
    assert not state.is_over


def test_a_step_is_blocked_only_when_all_of_its_needs_have_ended() -> None:
    scope = a_scope([], [], [0, 1])
    state, _ = begin(scope)

    assert finish(scope, state, 0, End.FAILED).blocked == ()
    assert finish(scope, state, 1, End.SUCCEEDED).blocked == (2,)
    assert state.is_over


def test_an_end_told_again_changes_nothing() -> None:
    scope = a_scope([], [0], [0])
    state, _ = begin(scope)
    finish(scope, state, 0, End.SUCCEEDED)

    assert finish(scope, state, 0, End.FAILED) == Progress()
    assert (state.ends, state.missing) == ({0: End.SUCCEEDED}, [0, 0, 0])


def test_stopping_cancels_what_has_not_begun_and_leaves_what_runs() -> None:
    scope = a_scope([], [0], [1], [])
    state, _ = begin(scope)
    finish(scope, state, 0, End.SUCCEEDED)

    assert stop(scope, state) == (2,)
    assert stop(scope, state) == ()
    assert finish(scope, state, 1, End.SUCCEEDED) == Progress()
    assert finish(scope, state, 3, End.SUCCEEDED) == Progress()
    assert state.is_over
    assert outcome(state) is End.CANCELLED


def test_the_failure_that_comes_first_in_the_document_is_the_scopes() -> None:
    scope = a_scope([], [], [])
    state, _ = begin(scope)

    assert first_failure(state) is None
    for place in (2, 0, 1):
        finish(scope, state, place, End.SUCCEEDED if place == 0 else End.FAILED)

    assert first_failure(state) == 1
    assert outcome(state) is End.FAILED


@given(graphs(), st.data())
@settings(max_examples=120)
def test_every_step_of_any_graph_begins_after_its_needs_or_is_blocked_by_one(scope: Scope, data: st.DataObject) -> None:
    state, progress = begin(scope)
    ready, begun, blocked = list(progress.ready), set[int](), set[int]()

    while ready:
        place = ready.pop(data.draw(st.integers(0, len(ready) - 1)))
        assert place not in begun
        assert all(state.ends[need].lets_on for need in scope.nodes[place].needs)
        begun.add(place)
        progress = finish(scope, state, place, data.draw(st.sampled_from(TOLD)))
        blocked.update(progress.blocked)
        ready += progress.ready

    assert state.is_over
    assert begun | blocked == {node.place for node in scope.nodes}
    assert begun & blocked == set()
    assert all(any(not state.ends[need].lets_on for need in scope.nodes[place].needs) for place in blocked)


@given(graphs(), st.permutations(range(12)), st.sets(st.integers(0, 11)))
@settings(max_examples=120)
def test_the_order_of_ends_does_not_change_how_a_scope_ends(scope: Scope, order: list[int], failing: set[int]) -> None:
    in_order, otherwise = _ended(scope, list(range(12)), failing), _ended(scope, order, failing)

    assert in_order.ends == otherwise.ends


def _ended(scope: Scope, order: list[int], failing: set[int]) -> ScopeState:
    state, progress = begin(scope)
    ready = set(progress.ready)
    while ready:
        place = min(ready, key=order.index)
        ready.remove(place)
        ready.update(finish(scope, state, place, End.FAILED if place in failing else End.SUCCEEDED).ready)
    return state


@given(graphs(), st.permutations(range(12)), st.sets(st.integers(0, 11)))
@settings(max_examples=60)
def test_a_whole_run_walks_every_edge_once(scope: Scope, order: list[int], failing: set[int]) -> None:
    counted = Scope(tuple(replace(node, successors=Counted(node.successors)) for node in scope.nodes))
    Counted.walked = 0

    _ended(counted, order, failing)

    assert Counted.walked == sum(len(node.needs) for node in scope.nodes)
