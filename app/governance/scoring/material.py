"""What scores look at in the words and the input of work: its size, its words, and what should not be in it.

Only ASCII letters and digits count, so that no version of Unicode and no locale has a say.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.governance.scoring.lexicon import COMMON, OVERRIDES

# Of text and input together. What is longer is not looked at, and says so in the risk.
EXAMINED = 256 * 1024
# A text says at its beginning what it is about.
TELLING = 60
SHORTEST_WORD = 3
# `reverse`, `reverses` and `reversing` are one.
STEM = 5

_WORD = re.compile(rb"[a-z]+")
_OVERRIDE = re.compile(OVERRIDES)
_KEY = re.compile(
    rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
    rb"|\bAKIA[0-9A-Z]{16}\b"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36}"
    rb"|\bxox[abprs]-[A-Za-z0-9-]{10}"
    rb"|\bsk-[A-Za-z0-9_-]{20}"
    rb"|\beyJ[A-Za-z0-9_-]{10,200}\.eyJ[A-Za-z0-9_-]{10}"
    rb"|\b(?i:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)\b[ \t]{0,4}[:=][ \t]{0,4}[^\s'\"]{6}"
)
_ADDRESS = re.compile(rb"(?<=[A-Za-z0-9._%+-])@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_CARD = re.compile(rb"(?<![0-9])[3-6](?:[ -]?[0-9]){12,18}(?![0-9])")


@dataclass(frozen=True)
class Material:
    """``size`` is in bytes of UTF-8, of all there is."""

    size: int
    _examined: bytes

    @classmethod
    def of(cls, text: str, given: Mapping[str, Any]) -> "Material":
        whole = "\n".join([text, *_lines(given)]).encode("utf-8", "surrogatepass")
        return cls(len(whole), whole[:EXAMINED])

    @property
    def is_cut(self) -> bool:
        return self.size > len(self._examined)

    @cached_property
    def words(self) -> frozenset[bytes]:
        return frozenset(_WORD.findall(self._examined.lower()))

    @cached_property
    def keys(self) -> int:
        return sum(1 for _ in _KEY.finditer(self._examined))

    @cached_property
    def addresses(self) -> int:
        return sum(1 for _ in _ADDRESS.finditer(self._examined))

    @cached_property
    def card_numbers(self) -> int:
        return sum(_is_card(found[0]) for found in _CARD.finditer(self._examined))

    @cached_property
    def overrides(self) -> int:
        return sum(1 for _ in _OVERRIDE.finditer(self._examined.lower()))


def stems_of(text: str) -> tuple[bytes, ...]:
    """What a text is about: the beginnings of its first telling words, each once."""
    words = _WORD.findall(text[:EXAMINED].encode("utf-8", "surrogatepass").lower())
    telling = (word[:STEM] for word in words if len(word) >= SHORTEST_WORD and word not in COMMON)
    return tuple(dict.fromkeys(telling))[:TELLING]


def _lines(value: Any, name: str = "") -> Iterator[str]:
    """Each text and number with the name before it, by name."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _lines(value[key], key)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _lines(one, name)
    else:
        told = value if isinstance(value, str) else json.dumps(value, default=str)
        yield f"{name}: {told}" if name else told


def _is_card(found: bytes) -> bool:
    """Its check digit is right (Luhn)."""
    digits = [byte - 48 for byte in reversed(found) if 48 <= byte <= 57]
    doubled = (digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(digits))
    return sum(doubled) % 10 == 0
