"""The shared context of the short form: who wrote the value of a key that a step reads."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from app.contracts import RESERVED

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Unordered(ValueError):
    """Whether the key has a value when it is read depends on chance."""

    def __init__(self, writer: str) -> None:
        super().__init__(writer)
        self.writer = writer


class Circular(ValueError):
    """Steps depend on each other."""

    def __init__(self, places: list[int]) -> None:
        super().__init__(places)
        self.places = places


@dataclass(frozen=True, slots=True)
class Writer:
    """A step in its list: its id, whether it may be skipped, and the result's key by the context's."""

    id: str
    needs: tuple[int, ...]
    is_conditional: bool
    writes: dict[str, str]


class Context:
    """``inputs`` gathers the keys that the inputs of a run may give."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        """Raises `Circular`."""
        self._writers = writers
        self._order, self._before = _ordered(writers)
        self.inputs: dict[str, None] = {}

    @property
    def keys(self) -> list[str]:
        """All that is written."""
        return list(dict.fromkeys(key for writer in self._writers for key in writer.writes))

    def value(self, key: str, otherwise: str, *, reader: int | None = None) -> str:
        """CEL for the key's value where ``reader`` begins, at the end for None; ``otherwise`` is CEL as well.

        Raises `Unordered`.
        """
        there = self._before[reader] if reader is not None else frozenset(range(len(self._writers)))
        writers = sorted((place for place in there if key in self._writers[place].writes), key=self._order.index)
        if not writers and reader is not None:
            self._refuse_unordered(key, reader)
        sure = next((place for place in reversed(writers) if not self._writers[place].is_conditional), None)
        cel = self._of_input(key, otherwise) if sure is None else self._of(sure, key)
        for place in writers[writers.index(sure) + 1 if sure is not None else 0 :]:
            cel = f'(steps.{self._writers[place].id}.status == "succeeded" ? {self._of(place, key)} : {cel})'
        return cel

    def _of(self, place: int, key: str) -> str:
        writer = self._writers[place]
        return f"steps.{writer.id}.output{_member(writer.writes[key])}"

    def _of_input(self, key: str, otherwise: str) -> str:
        if not is_word(key):
            return otherwise
        self.inputs[key] = None
        return f"(has(inputs.{key}) ? inputs.{key} : {otherwise})"

    def _refuse_unordered(self, key: str, reader: int) -> None:
        for place, writer in enumerate(self._writers):
            if key in writer.writes and place != reader and reader not in self._before[place]:
                raise Unordered(writer.id)


def is_word(text: str) -> bool:
    """Whether it can be a key of the context."""
    return _WORD.fullmatch(text) is not None and text not in RESERVED


def _member(key: str) -> str:
    return f".{key}" if is_word(key) else f"[{json.dumps(key)}]"


def _ordered(writers: Sequence[Writer]) -> tuple[list[int], list[frozenset[int]]]:
    """Places in an order that keeps the needs, and for each place those before it."""
    sorter = TopologicalSorter({place: writer.needs for place, writer in enumerate(writers)})
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        raise Circular(error.args[1]) from error
    before: list[frozenset[int]] = [frozenset()] * len(writers)
    for place in order:
        needs = writers[place].needs
        before[place] = frozenset(needs).union(*(before[need] for need in needs))
    return order, before
