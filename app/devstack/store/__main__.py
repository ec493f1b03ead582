"""A MongoDB-compatible store in one process: ``python -m app.devstack.store --port 27017 --data-dir DIR``.

For trying out, development and tests. It is a single node that keeps everything in memory (up to about 200,000
documents) and every acknowledged write in an append-only log: a killed process loses none; with ``--fsync`` neither
does a power cut. The log is rewritten when most of it is history. It has no users and no passwords, and listens on
127.0.0.1 unless told otherwise.
What it does not know it refuses: transactions, change streams, update pipelines, array filters, ``$expr``, collations,
text and geographic queries. Anything else should run on a real MongoDB.

When listening it prints one line of JSON: ``{"event": "listening", "host": …, "port": …, "pid": …, "documents": …}``.
A full disk fails the command that met it, which then has happened neither in memory nor on disk.
"""

import argparse
import gc
import json
import logging
import os
import sys
from pathlib import Path

import uvloop

from app.devstack.store.commands import Commands
from app.devstack.store.compaction import Compaction
from app.devstack.store.folder import FolderInUse, OpenFolder, open_folder
from app.devstack.store.log import LogCorrupted
from app.devstack.store.server import serve

# A command leaves no cycles behind; CPython's default would search for some after every seventh.
_COLLECTOR_THRESHOLDS = (20_000, 50, 50)


def main() -> int:
    """The exit code: 0 after a clean stop, 1 when the store could not start."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    # What is loaded stays, so looking through it for garbage is wasted time, now and later.
    gc.disable()
    try:
        folder = open_folder(options.data_dir, fsync=options.fsync)
    except (FolderInUse, LogCorrupted, OSError) as error:
        return _refuse(error)
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    gc.enable()
    try:
        uvloop.run(_serve(folder, options.host, options.port))
    except OSError as error:
        return _refuse(error)
    finally:
        folder.close()
    return 0


async def _serve(folder: OpenFolder, host: str, port: int) -> None:
    def announce(bound_port: int) -> None:
        line = {
            "event": "listening",
            "host": host,
            "port": bound_port,
            "pid": os.getpid(),
            "documents": folder.catalog.document_count,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    compaction = Compaction(folder.catalog, folder.log, live_bytes=folder.live_bytes)
    await serve(Commands(folder.catalog, folder.log), compaction, host, port, announce)


def _refuse(error: Exception) -> int:
    sys.stderr.write(f"store: {error}\n")
    return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.devstack.store", description="An embedded MongoDB stand-in.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one and prints it")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--fsync", action="store_true", help="flush every write to the disk: survives a power cut")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
