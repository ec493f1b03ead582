"""Whether bytes that come in pieces are the announced ones."""

import hashlib

from app.errors import Invalid


class ArtifactMismatch(Invalid):
    """What was sent is not what its name says; nothing of it is kept."""

    code = "ARTIFACT_MISMATCH"
    title = "Artifact is another one"


class ArtifactIncomplete(Invalid):
    """More or fewer bytes came than were announced; nothing of them is kept."""

    code = "ARTIFACT_INCOMPLETE"
    title = "Artifact incomplete"


class Checksum:
    """Sees every piece once, in order."""

    def __init__(self, sha256: str, size: int) -> None:
        """``size`` is in bytes."""
        self._sha256 = sha256
        self._size = size
        self._seen = hashlib.sha256()
        self._count = 0

    def update(self, piece: bytes) -> None:
        """Raises `ArtifactIncomplete` as soon as there are too many bytes."""
        self._seen.update(piece)
        self._count += len(piece)
        if self._count > self._size:
            raise ArtifactIncomplete(f"more than the announced {self._size} bytes arrived", size=self._size)

    def verify(self) -> None:
        """Raises `ArtifactIncomplete` or `ArtifactMismatch` unless everything came and is right."""
        if self._count < self._size:
            raise ArtifactIncomplete(
                f"{self._count} of {self._size} bytes arrived; send it again", size=self._size, received=self._count
            )
        actual = self._seen.hexdigest()
        if actual != self._sha256:
            raise ArtifactMismatch(
                f"expected SHA-256 {self._sha256}, but what was sent has {actual}; nothing was kept",
                expected=self._sha256,
                actual=actual,
            )
