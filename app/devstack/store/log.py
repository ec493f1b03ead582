"""The append-only log: every acknowledged write is in the file before its reply is sent.

A record is ``length, checksum of the payload, checksum of these two`` (little endian, 4 bytes each) and the payload.
The header has a checksum of its own so that a damaged length cannot pass for a record cut off by a crash.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

MAGIC = b"orchestrator store log 1\n"

_BLOCK_BYTES = 1 << 20
_HEADER = struct.Struct("<III")


class LogCorrupted(Exception):
    """The log is damaged before its end; nothing was changed on disk."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            f"{path} is damaged at offset {offset}: {what}. Nothing was changed. Restore the file from a copy, or cut "
            f"it there with `truncate -s {offset} {path}` and lose every write after that point."
        )
        self.offset = offset


class LogUnusable(Exception):
    """The log could not be put back to its last good state; only a restart can tell what is on disk."""


class CommandLog:
    """Appends whole records or nothing."""

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self.path = path
        self._fsync = fsync
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = os.lseek(self._file, 0, os.SEEK_END)
        self._is_broken = False
        if self._end == 0:
            self._write(MAGIC)

    def append(self, payload: bytes) -> None:
        """Raises ``OSError`` with nothing written (a full disk), or :class:`LogUnusable`."""
        self._write(frame(payload))

    @property
    def size(self) -> int:
        """How many bytes of whole records there are."""
        return self._end

    @property
    def is_broken(self) -> bool:
        """Whether every further write is refused."""
        return self._is_broken

    def copy(self, path: Path, *, begin: int, end: int) -> None:
        """Adds the records between two sizes that this log had to another log. Raises ``OSError``."""
        with path.open("ab") as file:
            while begin < end:
                block = os.pread(self._file, min(end - begin, _BLOCK_BYTES), begin)
                if not block:
                    raise OSError(f"{self.path} is shorter than what was written to it")
                file.write(block)
                begin += len(block)

    def go_on_in(self, path: Path, *, copied: int) -> int:
        """Takes the place of itself: ``path`` says in fewer words what this log said up to the size ``copied``.

        What came after that is added, then the file is put where the log was, at once: a crash leaves one or the
        other. Answers the old file, to be closed: the caller chooses when, for it takes long to give much space back.
        Raises ``OSError`` with the log as it was.
        """
        self.copy(path, begin=copied, end=self._end)
        fresh = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            end = os.lseek(fresh, 0, os.SEEK_END)
            if self._fsync:
                os.fsync(fresh)
            path.replace(self.path)
        except OSError:
            os.close(fresh)
            raise
        old, self._file, self._end, self._is_broken = self._file, fresh, end, False
        return old

    def close(self) -> None:
        os.close(self._file)

    def _write(self, record: bytes) -> None:
        if self._is_broken:
            raise LogUnusable(f"{self.path} failed earlier; restart the store")
        try:
            self._write_all(record)
        except OSError:
            self._cut_back()
            raise
        self._end += len(record)
        if self._fsync:
            self._flush()

    def _write_all(self, record: bytes) -> None:
        rest = memoryview(record)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)
        except OSError as error:
            self._is_broken = True
            raise LogUnusable(f"cannot remove a partial record from {self.path}: {error}") from error

    def _flush(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            # After a failed fsync the kernel may have dropped the pages: what is on disk is unknown.
            self._is_broken = True
            raise LogUnusable(f"cannot flush {self.path}: {error}") from error


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def frame(payload: bytes) -> bytes:
    header = struct.pack("<II", len(payload), zlib.crc32(payload))
    return header + struct.pack("<I", zlib.crc32(header)) + payload


def replay(path: Path, apply: Callable[[bytes], None]) -> int:
    """Hands every payload to ``apply``, in order, and returns how many bytes of the file are good.

    Stops before a record that a crash cut off. Raises :class:`LogCorrupted` for any other damage.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        found = file.read(len(MAGIC))
        if found != MAGIC:
            if size < len(MAGIC) and MAGIC.startswith(found):
                return 0
            raise LogCorrupted(path, 0, "it does not begin as a store log")
        good = len(MAGIC)
        while good < size:
            payload = _read_record(path, file, good, size)
            if payload is None:
                break
            apply(payload)
            good += _HEADER.size + len(payload)
        return good


def _read_record(path: Path, file: BinaryIO, offset: int, size: int) -> bytes | None:
    """None for a record that a crash cut off."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, checksum, header_checksum = _HEADER.unpack(header)
    if zlib.crc32(header[:8]) != header_checksum:
        if _is_blank(header, file):
            return None
        raise LogCorrupted(path, offset, "the header of a record does not match its checksum")
    if offset + _HEADER.size + length > size:
        return None
    payload = file.read(length)
    if zlib.crc32(payload) != checksum:
        raise LogCorrupted(path, offset, "the content of a record does not match its checksum")
    return payload


def _is_blank(header: bytes, file: BinaryIO) -> bool:
    # A power cut can leave a file longer than what reached it, filled up with zeros.
    return not any(header) and all(not any(block) for block in iter(lambda: file.read(1 << 20), b""))
