import asyncio
import itertools
import os
import re
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.steps.commands import LARGEST_OUTPUT, CommandNotFound, Program, Said, run_program
from app.workflows.steps.masking import MASK, StreamMask

SECRETS = ["abab", "ababc", "cab", "s3cret-value"]
# Spawns another that would outlive it, tells its number, and waits.
FAMILY = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); time.sleep(60)"
)


def _program(folder: Path, code: str, *, secrets: tuple[str, ...] = (), stdin: bytes = b"", **env: str) -> Program:
    return Program([sys.executable, "-c", code], folder, {"PATH": os.defpath, **env}, stdin, secrets)


async def _said(folder: Path, program: Program) -> Said:
    return await run_program(program, stdout=folder / "stdout", stderr=folder / "stderr")


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text("abcs3cret-value", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_a_stream_is_masked_alike_however_it_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    whole = re.sub(b"|".join(re.escape(one.encode()) for one in sorted(SECRETS, key=len, reverse=True)), MASK, data)
    mask, places = StreamMask(SECRETS), sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})

    pieces = [mask.feed(data[begin:end]) for begin, end in itertools.pairwise(places)]

    assert b"".join([*pieces, mask.flush()]) == whole


def test_a_secret_of_several_lines_is_masked_line_by_line_and_as_json() -> None:
    mask = StreamMask(["first-line-of-it\nsecond-line-of-it"])

    told = mask.feed(b"> first-line-of-it\n> second-line-of-it\n" + rb'"first-line-of-it\nsecond-line-of-it"')

    assert told + mask.flush() == b"> ***\n> ***\n" + b'"***"'


@pytest.mark.slow
async def test_a_secret_split_over_two_writes_never_reaches_a_file(tmp_path: Path) -> None:
    code = "import os, sys; s = os.environ['KEY']; w = sys.stdout; w.write(s[:5]); w.flush(); w.write(s[5:] + '!')"

    said = await _said(tmp_path, _program(tmp_path, code, secrets=("super-secret-key",), KEY="super-secret-key"))

    assert (said.exit_code, said.stdout) == (0, "***!")
    assert (tmp_path / "stdout").read_bytes() == b"***!"


@pytest.mark.slow
async def test_a_program_sees_its_environment_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_FOR_PROGRAMS", "1")
    code = "import os, sys; print(sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd(), sys.stdin.read())"

    said = await _said(tmp_path, _program(tmp_path, code, stdin=b'{"a": 1}', GIVEN="x"))

    assert said.stdout.strip() == f"['GIVEN', 'PATH'] {tmp_path} {{\"a\": 1}}"


@pytest.mark.slow
async def test_a_cancelled_program_takes_its_whole_group_along(tmp_path: Path) -> None:
    work = asyncio.create_task(_said(tmp_path, _program(tmp_path, FAMILY)))
    ends_at = time.monotonic() + 10
    while not (tmp_path / "stdout").is_file() or not (tmp_path / "stdout").read_text().endswith("\n"):
        assert time.monotonic() < ends_at, "the program said nothing"
        await asyncio.sleep(0.01)
    child = psutil.Process(int((tmp_path / "stdout").read_text()))

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    _, alive = psutil.wait_procs([child], timeout=5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
async def test_output_is_cut_at_its_limit_and_the_program_goes_on(tmp_path: Path) -> None:
    code = f"import sys; sys.stdout.write('x' * {LARGEST_OUTPUT + 5000}); sys.stderr.write('done')"

    said = await _said(tmp_path, _program(tmp_path, code))

    assert (len(said.stdout), said.stderr, said.is_cut, said.exit_code) == (LARGEST_OUTPUT, "done", True, 0)
    assert (tmp_path / "stdout").stat().st_size == LARGEST_OUTPUT


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound, match="no-such-program"):
        await _said(tmp_path, Program(["no-such-program"], tmp_path, {"PATH": os.defpath}))
