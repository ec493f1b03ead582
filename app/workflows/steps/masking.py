"""Takes secrets out of a stream of bytes as it passes, also one that arrives in pieces."""

import json
import re
from collections.abc import Iterable, Iterator

MASK = b"***"
# Shorter ones would hide half of what a program says.
SHORTEST_SECRET = 4
_SHORTEST_LINE = 8


class StreamMask:
    """What comes out is what `re.sub` would make of the whole stream, the longest secret first."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {spelling.encode() for secret in secrets for spelling in _spellings(secret)}
        self._secrets = sorted(spelled, key=lambda one: (-len(one), one))
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets))) if self._secrets else None
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What is certain by now; the beginning of what may become a secret is held back."""
        if self._pattern is None:
            return piece
        data = self._held + piece
        safe = len(data) - self._uncertain(data)
        return self._masked(data, safe)

    def flush(self) -> bytes:
        """The rest, when nothing more comes."""
        data = self._held
        return self._masked(data, len(data))

    def _masked(self, data: bytes, safe: int) -> bytes:
        told, at = [], 0
        # One that begins before `safe` cannot become another with more data: that one would be uncertain.
        while self._pattern and (found := self._pattern.search(data, at)) and found.start() < safe:
            told += [data[at : found.start()], MASK]
            at = found.end()
        end = max(at, safe)
        self._held = data[end:]
        return b"".join([*told, data[at:end]])

    def _uncertain(self, data: bytes) -> int:
        """The length of the longest end of the data that a secret begins with."""
        return max((_overlap(data, secret) for secret in self._secrets), default=0)


def _overlap(data: bytes, secret: bytes) -> int:
    longest = min(len(secret) - 1, len(data))
    return next((length for length in range(longest, 0, -1) if data.endswith(secret[:length])), 0)


def _spellings(secret: str) -> Iterator[str]:
    """As it is, as JSON writes it, and the lines of one that has several: programs print keys line by line."""
    yield secret
    yield json.dumps(secret)[1:-1]
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE)
