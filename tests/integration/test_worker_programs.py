"""A process that runs programs as a worker does, killed in the middle of it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.devstack.child import tethered
from app.devstack.source import with_source
from tests.processes import until

WORKER = """
import asyncio, os, sys
from pathlib import Path
from app.workflows.steps.commands import Program, run_program
from worker.programs import guarded_programs

FAMILY = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)']); "
    "print(child.pid, flush=True); child.wait()"
)
folder = Path(sys.argv[1])
with guarded_programs(are_allowed=True) as guard:
    program = Program([sys.executable, "-c", FAMILY], folder, {"PATH": os.defpath})
    asyncio.run(run_program(program, stdout=folder / "stdout", stderr=folder / "stderr", guard=guard))
"""


@pytest.mark.slow
def test_the_programs_of_a_worker_that_is_killed_die_with_it_and_so_do_their_children(tmp_path: Path) -> None:
    argv = tethered([sys.executable, "-c", WORKER, str(tmp_path)])
    worker = subprocess.Popen(argv, env=with_source(os.environ))
    said = tmp_path / "stdout"
    until(lambda: said.is_file() and said.read_text().endswith("\n"), "the number of the program's child")
    child = psutil.Process(int(said.read_text()))

    worker.kill()
    worker.wait()

    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child is gone")
