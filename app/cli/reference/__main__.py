"""Generates the reference pages from the code: `python -m app.cli.reference [--check]`."""

import argparse
import sys
from pathlib import Path

from app.cli.reference.pages import FOLDER, drifted, write_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is out of date")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages are")
    arguments = parser.parse_args()
    sys.exit(_check(arguments.folder) if arguments.check else _write(arguments.folder))


def _check(folder: Path) -> int:
    stale = drifted(folder)
    for name in stale:
        print(f"{folder / name} is out of date: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


def _write(folder: Path) -> int:
    for path in write_all(folder):
        print(path)
    return 0


if __name__ == "__main__":
    main()
