"""Whether words are in a text, and where. Pure."""

import re
from bisect import bisect_right
from itertools import accumulate

LONGEST_QUOTE = 2000
_WORD = re.compile(r"\S+")


class QuotableText:
    """Line breaks and spaces of a quote may differ, words may not. A search takes time linear in the text."""

    def __init__(self, text: str) -> None:
        words = [found.span() for found in _WORD.finditer(text)]
        self._flat = " ".join(text[begin:end] for begin, end in words)
        # Where each word begins, in the text and in the flat one.
        self._in_text = [begin for begin, _ in words]
        self._in_flat = [0, *accumulate(end - begin + 1 for begin, end in words)][: len(words)]

    def find(self, quote: str, *, start: int = 0, last: bool = False) -> tuple[int, int] | None:
        """Where in the text the quote begins and ends, the first time or the last.

        ``start`` is a place within a word.
        """
        wanted = " ".join(quote.split())
        if not wanted or len(quote) > LONGEST_QUOTE or not self._flat:
            return None
        search = self._flat.rfind if last else self._flat.find
        at = search(wanted, _moved(start, self._in_text, self._in_flat))
        if at < 0:
            return None
        end = _moved(at + len(wanted) - 1, self._in_flat, self._in_text) + 1
        return _moved(at, self._in_flat, self._in_text), end


def _moved(place: int, origin: list[int], target: list[int]) -> int:
    word = max(bisect_right(origin, place) - 1, 0)
    return max(target[word] + place - origin[word], 0)
