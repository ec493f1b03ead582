"""`python -m tests.chaos.worker`: the real worker, with the chaos agent, its history and its failpoints."""

import sys

from tests.chaos import failpoints, instruments, wall_clock
from tests.chaos.agents import chaos_registry
from worker.__main__ import main

if __name__ == "__main__":
    wall_clock.install()
    # Innermost, so that a death after a write is a death before the history hears of it.
    failpoints.install()
    instruments.install()
    sys.exit(main(registry=chaos_registry()))
