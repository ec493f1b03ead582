"""Runs a program in a process group of its own: bounded in time and output, with nothing left behind."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from app.errors import ExecutionError, Invalid
from app.workflows.language.expressions import as_text
from app.workflows.steps.masking import StreamMask

LARGEST_OUTPUT = 1024 * 1024
# For the output of a program that has ended, when somebody else still holds the other end.
LAST_WORDS = 1.0
_PIECE = 64 * 1024


class CommandFailed(ExecutionError):
    """The program ended with another exit code than 0, which the message tells; what it said is in its output."""

    code = "COMMAND_FAILED"
    title = "Command failed"


class CommandNotFound(ExecutionError):
    code = "COMMAND_NOT_FOUND"
    title = "Command not found"


def _as_it_is(argv: Sequence[str]) -> Sequence[str]:
    return argv


def _nobody(_group: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Guard:
    """Sees to it that programs end with this process: ``wrap`` may put a guardian before the program.

    ``begun`` and ``ended`` are told the process group, which is to be killed should this process die in between.
    """

    wrap: Callable[[Sequence[str]], Sequence[str]] = _as_it_is
    begun: Callable[[int], None] = _nobody
    ended: Callable[[int], None] = _nobody


@dataclass(frozen=True, slots=True)
class Program:
    """``environment`` is all that the program gets; what it says is kept without the ``secrets``."""

    argv: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    stdin: bytes = b""
    secrets: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended, negative for a signal, and what it said: masked, and cut to `LARGEST_OUTPUT` each."""

    exit_code: int
    stdout: str
    stderr: str
    is_cut: bool


class Capture:
    """One stream of a program: masked before anything is kept, in a file as it comes and in memory."""

    def __init__(self, path: Path, secrets: Sequence[str]) -> None:
        self._mask = StreamMask(secrets)
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._kept = bytearray()
        self.is_cut = False

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")

    def take(self, piece: bytes) -> None:
        self._keep(self._mask.feed(piece))

    def close(self) -> None:
        self._keep(self._mask.flush())
        self._file.close()

    def _keep(self, masked: bytes) -> None:
        kept = masked[: LARGEST_OUTPUT - len(self._kept)]
        self.is_cut |= len(kept) < len(masked)
        self._kept += kept
        self._file.write(kept)


async def run_program(program: Program, *, stdout: Path, stderr: Path, guard: Guard = Guard()) -> Said:
    """Raises `CommandNotFound`. Cancelled, it kills the whole group before it returns."""
    argv = [found_program(program), *program.argv[1:]]
    captures = [Capture(path, program.secrets) for path in (stdout, stderr)]
    pumps: list[asyncio.Task[None]] = []
    try:
        process = await _start(program, guard.wrap(argv), captures, pumps)
        guard.begun(process.pid)
        try:
            exit_code = await process.wait()
        finally:
            # Whoever of the group is left would go on unseen, and keep the pipes open.
            _kill(process.pid)
            guard.ended(process.pid)
            # Nobody else waits for a program that was killed.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LAST_WORDS)
        await asyncio.wait(pumps, timeout=LAST_WORDS)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for capture in captures:
            capture.close()
    out, err = captures
    return Said(exit_code, out.text, err.text, out.is_cut or err.is_cut)


def program_of(
    argv: Sequence[Any],
    folder: Path,
    given: Mapping[str, Any],
    *,
    named: Mapping[str, Any],
    secrets: Sequence[str],
    environment: Mapping[str, str],
) -> Program:
    """What a step's rendered `command` and `env` come to; ``given`` is written to its standard input as JSON.

    Raises `Invalid` for a secret that the ``environment`` does not have.
    """
    if missing := [name for name in secrets if name not in environment]:
        raise Invalid(f"the secret {missing[0]} is not in the environment of this process: set it where the step runs")
    known = {name: environment[name] for name in secrets}
    # Names where programs are, and tells nothing else.
    path = {"PATH": environment.get("PATH", os.defpath)}
    words = {name: as_text(value) for name, value in named.items()}
    stdin = json.dumps(given).encode() if given else b""
    return Program([as_text(word) for word in argv], folder, {**path, **words, **known}, stdin, tuple(known.values()))


def said_by(program: Program, said: Said, *, as_object: bool) -> dict[str, Any]:
    """The output of a step; ``as_object`` adds the members of what was written as a JSON object.

    Raises `CommandFailed` with it for another exit code than 0.
    """
    output = {"exit_code": said.exit_code, "stdout": said.stdout, "stderr": said.stderr}
    if as_object:
        output = {**_object_in(said.stdout), **output}
    if said.exit_code:
        how = f"exit code {said.exit_code}" if said.exit_code > 0 else f"signal {-said.exit_code}"
        raise CommandFailed(f"{Path(program.argv[0]).name} ended with {how}", output=output)
    return output


def found_program(program: Program) -> str:
    """The file that the first word of the command names, by the program's own PATH and folder."""
    name = program.argv[0]
    if os.sep in name:
        path = program.folder / name
        found = str(path) if path.is_file() and os.access(path, os.X_OK) else None
    else:
        found = shutil.which(name, path=program.environment.get("PATH", os.defpath))
    if found is None:
        raise CommandNotFound(f"there is no program {name[:80]!r}: install it, or set PATH in the step's `env`")
    return found


async def _start(
    program: Program, argv: Sequence[str], captures: Sequence[Capture], pumps: list[asyncio.Task[None]]
) -> asyncio.subprocess.Process:
    # Our own pipes and not asyncio's: waiting for a process there may also wait for grandchildren that hold them.
    pipes = [os.pipe() for _ in captures]
    with tempfile.TemporaryFile() as stdin:
        stdin.write(program.stdin)
        stdin.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                env=dict(program.environment),
                cwd=program.folder,
                start_new_session=True,
            )
        except BaseException:
            for read_end, _ in pipes:
                os.close(read_end)
            raise
        finally:
            for _, write_end in pipes:
                os.close(write_end)
    pairs = zip(pipes, captures, strict=True)
    pumps.extend(asyncio.create_task(_pump(read_end, capture)) for (read_end, _), capture in pairs)
    return process


async def _pump(descriptor: int, capture: Capture) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        while piece := await reader.read(_PIECE):
            capture.take(piece)
    finally:
        transport.close()


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _object_in(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
