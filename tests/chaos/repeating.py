"""Something that is looked at again and again while a test goes on."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Repeating(ABC):
    """Calls `look` from a thread of its own, from entering to leaving."""

    def __init__(self, name: str, *, pause: float) -> None:
        """``pause`` between two looks, in seconds."""
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    @abstractmethod
    def look(self) -> None: ...

    def _repeat(self) -> None:
        while not self._over.wait(self._pause):
            self.look()
