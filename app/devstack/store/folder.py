"""The data folder: one server at a time, a log, and what it holds."""

import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import bson

from app.devstack.store.catalog import Catalog
from app.devstack.store.compaction import compact_at_start
from app.devstack.store.errors import StoreError
from app.devstack.store.image import Image
from app.devstack.store.log import CommandLog, LogCorrupted, replay

log = logging.getLogger(__name__)


class FolderInUse(Exception):
    """Another server has the data folder."""


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """``live_bytes`` is what the documents come to, without their history."""

    catalog: Catalog
    log: CommandLog
    lock: int
    live_bytes: int

    def close(self) -> None:
        self.log.close()
        os.close(self.lock)


def open_folder(folder: Path, *, fsync: bool) -> OpenFolder:
    """Locks the folder and loads what its log holds.

    Raises :class:`FolderInUse`, :class:`LogCorrupted`, or ``OSError``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    try:
        return _open_locked(folder / "store.log", lock, fsync=fsync)
    except BaseException:
        os.close(lock)
        raise


def _open_locked(path: Path, lock: int, *, fsync: bool) -> OpenFolder:
    image = Image()
    if path.exists():
        _load(path, image)
    snapshot = image.snapshot()
    compact_at_start(path, snapshot)
    return OpenFolder(Catalog.from_image(image), CommandLog(path, fsync=fsync), lock, snapshot.live_bytes)


def _load(path: Path, image: Image) -> None:
    offset = 0

    def apply(payload: bytes) -> None:
        try:
            image.apply(payload)
        except (bson.errors.BSONError, StoreError, KeyError, ValueError, TypeError) as error:
            raise LogCorrupted(path, offset, f"a record makes no sense ({error!r})") from error

    good = replay(path, apply)
    size = path.stat().st_size
    if good < size:
        log.warning("store.torn_record: dropped the last %d bytes of %s, cut off by a crash", size - good, path)
        os.truncate(path, good)


def _lock(folder: Path) -> int:
    path = folder / "store.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
        os.close(handle)
        raise FolderInUse(f"{folder} is in use by another store (process {owner or 'unknown'})") from error
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle
