"""Whether a chain is whole: nothing was changed, removed, inserted or put into another order. Pure.

Who can write to the store can also cut off the end, or rewrite everything from one entry on with new hashes; only an
anchor that was kept elsewhere tells.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.governance.audit.entries import Head
from app.hash_chain import digest_of


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain is not whole; every entry before it is proved."""

    seq: int
    reason: str


class Verification:
    """Takes the entries of one tenant in the order of the chain and stops at the first `Break`."""

    def __init__(self, *, anchors: Iterable[Head] = ()) -> None:
        self.head = Head()
        self.broken: Break | None = None
        self.tenant_id: str | None = None
        self._anchors = {anchor.seq: anchor for anchor in anchors}

    def take(self, entry: Any) -> bool:
        """Whether the chain is whole so far."""
        if self.broken is None:
            reason = self._reason(entry)
            if reason is None:
                self.head = Head(entry["seq"], entry["hash"])
            else:
                self.broken = Break(self.head.seq + 1, reason)
        return self.broken is None

    def finish(self) -> Break | None:
        """After the last entry: the break, also of a chain whose end is missing."""
        missing = [seq for seq in self._anchors if seq > self.head.seq]
        if self.broken is None and missing:
            self.broken = Break(
                self.head.seq + 1,
                f"the end is missing: the chain ends at {self.head.seq}, the anchor is {max(missing)}",
            )
        return self.broken

    def _reason(self, entry: Any) -> str | None:
        if not isinstance(entry, Mapping):
            return "it is no entry"
        return self._misplaced(entry) or self._altered(entry) or self._unlike_anchor(entry)

    def _misplaced(self, entry: Mapping[str, Any]) -> str | None:
        seq, expected = entry.get("seq"), self.head.seq + 1
        if isinstance(seq, bool) or not isinstance(seq, int):
            return "its number was changed"
        if seq > expected:
            return f"it was removed: {seq} comes after {self.head.seq}"
        return f"an entry was inserted: {seq} comes after {self.head.seq}" if seq < expected else None

    def _altered(self, entry: Mapping[str, Any]) -> str | None:
        self.tenant_id = self.tenant_id or entry.get("tenant_id")
        if entry.get("tenant_id") != self.tenant_id:
            return "it is of another tenant"
        if entry.get("hash") != _digest(entry):
            return "it was changed"
        return None if entry.get("previous") == self.head.hash else "what came before it was replaced"

    def _unlike_anchor(self, entry: Mapping[str, Any]) -> str | None:
        anchor = self._anchors.get(entry["seq"])
        return None if anchor is None or anchor.hash == entry["hash"] else "it is not what the anchor was made of"


def _digest(entry: Mapping[str, Any]) -> str | None:
    try:
        return digest_of(entry)
    except (TypeError, ValueError, RecursionError):
        return None
