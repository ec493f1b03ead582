"""The data folder: one server at a time, a log, and its compaction at start."""

import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import bson

from app.devstack.store.catalog import Catalog
from app.devstack.store.errors import StoreError
from app.devstack.store.image import Image
from app.devstack.store.log import CommandLog, LogCorrupted, replay

log = logging.getLogger(__name__)

# A log is rewritten when most of it is history, and it is long enough for the time to be noticed.
COMPACTION_FACTOR = 2
COMPACTION_MINIMUM_BYTES = 4 * 1024 * 1024


class FolderInUse(Exception):
    """Another server has the data folder."""


@dataclass(frozen=True, slots=True)
class OpenFolder:
    catalog: Catalog
    log: CommandLog
    lock: int

    def close(self) -> None:
        self.log.close()
        os.close(self.lock)


def open_folder(folder: Path, *, fsync: bool) -> OpenFolder:
    """Locks the folder and loads what its log holds.

    Raises :class:`FolderInUse`, :class:`LogCorrupted`, or ``OSError``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    path = folder / "store.log"
    path.with_suffix(".compacting").unlink(missing_ok=True)
    image = Image()
    if path.exists():
        _load(path, image)
        size = path.stat().st_size
        if size > COMPACTION_MINIMUM_BYTES and size > COMPACTION_FACTOR * image.live_bytes:
            image.write(path)
            log.info("store.compacted: %d to %d bytes", size, path.stat().st_size)
    return OpenFolder(Catalog.from_image(image), CommandLog(path, fsync=fsync), lock)


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
