"""Has sources read in processes of their own: hostile ones crash a parser that is native code, or exhaust any other."""

import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from app.agents.code.verification.verdicts import UNREADABLE, SyntaxProblem, Unverifiable

# Also when the machine is so busy that a process does not get to use up its processor time.
_MOST_SECONDS = 20.0
_MODULE = "app.agents.code.verification"
# What Python needs to start; the keys of the worker are not among it.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_PIECE = 65_536

Reading = SyntaxProblem | Unverifiable | None


@dataclass(frozen=True, slots=True)
class Source:
    """`grammar` is what `app.agents.code.verification.reading` knows; `dialect` is that of SQL."""

    grammar: str
    text: str
    dialect: str | None = None


class ParserHost:
    """A process that has the parsers loaded and forks for each request, which costs a few milliseconds.

    It starts with the first request and ends with this process. For any number of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._stop: Callable[[], object] = _nothing

    def read(self, sources: Sequence[Source]) -> list[Reading]:
        """The first syntax error of each. One that the parser dies of is an error, and those behind it count as unread.

        Blocks, at most for 20 s. Raises `RuntimeError` when no parser can be started.
        """
        asked = json.dumps([asdict(one) for one in sources]).encode()
        # A host that was killed takes what it is handed for as long as one of its forks lives.
        told = self._ask(asked) or self._ask(asked)
        if told is None:
            raise RuntimeError("the process that verifies code cannot work")
        return [*map(_reading, told[1:]), *(UNREADABLE for _ in range(len(sources) - len(told) + 1))]

    def _ask(self, asked: bytes) -> list[str] | None:
        """What a fork says, that it is ready first; None when there was none."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                channel = self._hand_over(theirs)
            told = _lines(_answer(ours, asked))
        if not told:
            self._forget(channel)
        return told or None

    def _hand_over(self, line: socket.socket) -> socket.socket:
        with self._lock:
            channel = self._channel or self._start()
            try:
                socket.send_fds(channel, [b"\0"], [line.fileno()])
            except OSError:
                # It was killed, by a system that ran out of memory for example.
                channel = self._start()
                socket.send_fds(channel, [b"\0"], [line.fileno()])
            return channel

    def _start(self) -> socket.socket:
        self._stop()
        self._channel, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # A traceback would quote the source.
                stderr=subprocess.DEVNULL,
                env=environment,
                # The keyboard's interrupt is for the worker, which may still finish what it does.
                start_new_session=True,
            )
        self._stop = weakref.finalize(self, _end, self._channel, process)
        return self._channel

    def _forget(self, channel: socket.socket) -> None:
        with self._lock:
            if self._channel is channel:
                self._channel = None
                self._stop()


def _nothing() -> None:
    """There is no process to stop."""


def _end(channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    channel.close()
    process.kill()
    process.wait()


def _answer(line: socket.socket, asked: bytes) -> bytes:
    """All that came before the end, or before the time was over."""
    told = bytearray()
    line.settimeout(_MOST_SECONDS)
    try:
        line.sendall(asked)
        line.shutdown(socket.SHUT_WR)
        while piece := line.recv(_PIECE):
            told += piece
    except OSError:
        # The other end is gone, or takes too long.
        return bytes(told)
    return bytes(told)


def _lines(told: bytes) -> list[str]:
    """The complete ones."""
    return [line.decode() for line in told.splitlines(keepends=True) if line.endswith(b"\n")]


def _reading(line: str) -> Reading:
    told = json.loads(line)
    if told is None:
        return None
    return Unverifiable(told["why"]) if "why" in told else SyntaxProblem(**told)
