"""``python -m tests.bench [--quick] [--json FILE]``: measures the product beside plain Celery and prints a table.

A report, not a test: a missed target is said and does not fail. It starts its own processes on free ports in a
temporary folder, talks to the loopback only, and leaves nothing behind.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.machine import describe_machine
from tests.bench.measurements import Bench
from tests.bench.plain_celery import PlainCelery
from tests.bench.plan import FULL, QUICK, Sizes
from tests.bench.process import BenchFailed
from tests.bench.report import render
from tests.bench.stack import Stack, TaskStore

EXIT_STOPPED = 143


def main() -> int:
    options = _options()
    # Ended like Ctrl-C, so that the processes and the folder go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_STOPPED))
    machine, began = describe_machine(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            bench = _measure(Path(folder), QUICK if options.quick else FULL)
        except BenchFailed as error:
            _say(f"bench: {error}")
            return 1
    seconds = round(time.monotonic() - began, 1)
    figures = bench.notes.figures()
    sys.stdout.write(f"\n{render(figures, machine)}\nMeasured in {seconds} s.\n")
    if options.json:
        content = {
            "machine": machine,
            "seconds": seconds,
            "figures": [figure.as_json() for figure in figures],
            "rounds": bench.notes.rounds(),
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _measure(folder: Path, sizes: Sizes) -> Bench:
    stack = Stack(folder, slots=sizes.waiting)
    plain = PlainCelery(stack.broker_url, folder)
    tasks = TaskStore(stack.ports.store)
    bench = Bench(stack, tasks, plain, sizes)
    try:
        bench.run(_say)
    finally:
        plain.stop()
        tasks.close()
        stack.stop()
    return bench


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure against plain Celery.")
    parser.add_argument("--quick", action="store_true", help="one smaller round, under 110 seconds")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
