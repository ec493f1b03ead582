"""What was asked of the simulator: numbers and names of the calls and when they came, never their texts."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

_REMEMBERED_CALLS = 1000


class CallLog:
    def __init__(self) -> None:
        self._total = 0
        self._by_role: Counter[str] = Counter()
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=_REMEMBERED_CALLS)

    def add(self, role: str, **facts: Any) -> None:
        """``at`` among the facts is Unix time."""
        self._total += 1
        self._by_role[role] += 1
        self._recent.append({"role": role, **facts})

    def clear(self) -> None:
        self._total = 0
        self._by_role.clear()
        self._recent.clear()

    def report(self) -> dict[str, Any]:
        return {"total": self._total, "by_role": dict(self._by_role), "recent": list(self._recent)}
