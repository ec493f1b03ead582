"""How many jobs one worker process runs at a time, and under which id it may claim them."""

import threading
from collections.abc import Callable


class Slots:
    """Places for running jobs, whoever starts them: the threads that carry messages, and the event loop."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._in_use = 0
        self._changed = threading.Condition()
        self._find_holder: Callable[[], str | None] = _nobody

    @property
    def in_use(self) -> int:
        return self._in_use

    def holder(self) -> str | None:
        """The worker's id to claim under at this moment; None when it must not claim: without a lease, or draining."""
        return self._find_holder()

    def identify_by(self, find_holder: Callable[[], str | None]) -> None:
        """Tell how the holder is found; until then there is none."""
        self._find_holder = find_holder

    def acquire(self, timeout: float) -> bool:
        """Wait for a place, at most ``timeout`` seconds; never on the event loop. False when there was none."""
        with self._changed:
            if not self._changed.wait_for(self._has_room, timeout):
                return False
            self._in_use += 1
            return True

    def try_acquire(self) -> bool:
        """False when every place is taken."""
        with self._changed:
            if not self._has_room():
                return False
            self._in_use += 1
            return True

    def release(self) -> None:
        """Give one place back. Raises `ValueError` when none is taken."""
        with self._changed:
            if not self._in_use:
                raise ValueError("a slot was released that nobody had taken")
            self._in_use -= 1
            self._changed.notify_all()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until no place is taken, at most ``timeout`` seconds; never on the event loop."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_use, timeout)

    def _has_room(self) -> bool:
        return self._in_use < self._number


def _nobody() -> str | None:
    return None
