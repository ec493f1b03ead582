"""The embedded store's ordered set, against a plain sorted list."""

import random
from bisect import insort

import pytest

from app.devstack.store.sorted_keys import SortedKeys

Key = tuple[int, int]


def assert_same(keys: SortedKeys, model: list[Key], chooser: random.Random) -> None:
    low, high = sorted(((chooser.randrange(-5, 505),), (chooser.randrange(-5, 505), chooser.randrange(9))))
    inside = [key for key in model if low <= key < high]
    assert list(keys.between(low, high)) == inside
    assert list(keys.between_reversed(low, high)) == inside[::-1]
    assert keys.count(low, high) == len(inside)
    assert len(keys) == len(model)


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_a_sorted_list_while_growing_and_shrinking(seed: int) -> None:
    chooser = random.Random(seed)
    model: list[Key] = sorted((number % 500, number) for number in range(3000))
    keys = SortedKeys(model)

    for step in range(9000):
        grows = chooser.random() < (0.7 if step < 3000 else 0.2)
        if grows or not model:
            key = (chooser.randrange(500), 10_000 + step)
            insort(model, key)
            keys.add(key)
        else:
            keys.remove(model.pop(chooser.randrange(len(model))))
        if step % 100 == 0:
            assert_same(keys, model, chooser)

    assert list(keys.between((), (501,))) == model


def test_emptied_from_the_front_like_a_queue() -> None:
    keys = SortedKeys((number, 0) for number in range(5000))

    for number in range(5000):
        assert next(keys.between((), (9999,))) == (number, 0)
        keys.remove((number, 0))

    assert list(keys.between((), (9999,))) == []
    assert list(keys.between_reversed((), (9999,))) == []


def test_removing_what_is_not_there_is_an_error() -> None:
    keys = SortedKeys([(1, 1)])

    with pytest.raises(KeyError):
        keys.remove((1, 2))
    with pytest.raises(KeyError):
        keys.remove((0, 2))
