"""A sorted set of tuples in chunks: what a B-tree is for, within the reach of ``bisect``.

Adding, removing and seeking cost O(log n) comparisons and one move inside a chunk of at most a thousand.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from app.devstack.store.ordering import Key

_FULL = 1000
_SMALL = 125


class SortedKeys:
    """Bounds are half open, ``low <= key < high``, and may be prefixes of keys. Do not change it while iterating."""

    __slots__ = ("_chunks", "_lasts", "_size")

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        ordered = sorted(keys)
        half = _FULL // 2
        self._chunks = [ordered[start : start + half] for start in range(0, len(ordered), half)]
        self._lasts = [chunk[-1] for chunk in self._chunks]
        self._size = len(ordered)

    def __len__(self) -> int:
        return self._size

    def add(self, key: Key) -> None:
        self._size += 1
        if not self._chunks:
            self._chunks.append([key])
            self._lasts.append(key)
            return
        place = min(bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[place]
        insort(chunk, key)
        self._lasts[place] = chunk[-1]
        if len(chunk) > _FULL:
            self._split(place)

    def remove(self, key: Key) -> None:
        """Raises ``KeyError`` when the key is not in the set."""
        place, position = self._seek(key)
        if place == len(self._chunks) or self._chunks[place][position] != key:
            raise KeyError(key)
        chunk = self._chunks[place]
        del chunk[position]
        self._size -= 1
        if not chunk:
            del self._chunks[place], self._lasts[place]
            return
        self._lasts[place] = chunk[-1]
        if len(chunk) < _SMALL and place + 1 < len(self._chunks):
            self._merge_with_next(place)

    def between(self, low: Key, high: Key) -> Iterator[Key]:
        place, position = self._seek(low)
        while place < len(self._chunks):
            chunk = self._chunks[place]
            if self._lasts[place] < high:
                yield from chunk[position:] if position else chunk
            else:
                yield from chunk[position : bisect_left(chunk, high)]
                return
            place, position = place + 1, 0

    def between_reversed(self, low: Key, high: Key) -> Iterator[Key]:
        last, position = self._seek(high)
        for place in range(min(last, len(self._chunks) - 1), -1, -1):
            chunk = self._chunks[place]
            start = bisect_left(chunk, low)
            yield from reversed(chunk[start : position if place == last else len(chunk)])
            if start:
                return

    def count(self, low: Key, high: Key) -> int:
        first, start = self._seek(low)
        last, end = self._seek(high)
        if (first, start) >= (last, end):
            return 0
        return sum(len(chunk) for chunk in self._chunks[first:last]) - start + end

    def _seek(self, key: Key) -> tuple[int, int]:
        place = bisect_left(self._lasts, key)
        if place == len(self._chunks):
            return place, 0
        return place, bisect_left(self._chunks[place], key)

    def _split(self, place: int) -> None:
        chunk = self._chunks[place]
        half = len(chunk) // 2
        self._chunks[place : place + 1] = [chunk[:half], chunk[half:]]
        self._lasts.insert(place, chunk[half - 1])

    def _merge_with_next(self, place: int) -> None:
        chunk = self._chunks[place] + self._chunks[place + 1]
        self._chunks[place : place + 2] = [chunk]
        del self._lasts[place]
        if len(chunk) > _FULL:
            self._split(place)
