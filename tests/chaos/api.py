"""`python -m tests.chaos.api`: the real API, which knows the chaos agent, with its failpoints."""

import sys
from functools import partial

from app.bootstrap.core import build_core
from app.main import main
from tests.chaos import failpoints
from tests.chaos.agents import chaos_registry

if __name__ == "__main__":
    failpoints.install()
    sys.exit(main(core_factory=partial(build_core, registry=chaos_registry())))
