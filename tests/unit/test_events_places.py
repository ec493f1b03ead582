import pytest

from app.events.places import Place


def test_places_sort_as_the_events_of_a_task_do() -> None:
    disordered = [Place(10), Place(2, 10), Place(3), Place(2, 2), Place(1), Place(2, 1), Place(2)]

    assert [str(place) for place in sorted(disordered)] == ["1", "2", "2-1", "2-2", "2-10", "3", "10"]


@pytest.mark.parametrize("place", [Place(0), Place(3), Place(3, 17), Place(999_999_999, 1)])
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert Place.read(str(place)) == place


@pytest.mark.parametrize(
    "written", [None, "", "x", "-1", "1-", "1.5", "1-2-3", " 1", "1\n", "1" * 10, "1-" + "1" * 10, "²"]
)
def test_what_is_no_place_is_not_taken_for_one(written: str | None) -> None:
    assert Place.read(written) is None


def test_just_before_a_status_change_is_behind_all_that_happened_live_before_it() -> None:
    assert Place(2, 10**8) < Place.just_before(3) < Place(3)
