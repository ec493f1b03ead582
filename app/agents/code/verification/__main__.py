"""Forks for each request; the fork reads what it is given, and may die of it.

A request is one end of a socket, handed over on standard input. In comes a JSON array; out go an empty line, when the
fork works, and one line of JSON for each source.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from app.agents.code.verification.grammars import load_all
from app.agents.code.verification.reading import problem_in
from app.agents.code.verification.verdicts import Unverifiable

# Sources of 20 kB have been seen to take a gigabyte, and some of 64 kB to overrun the stack.
_MOST_MEMORY = 1 << 30
_MOST_SECONDS = 3


def main() -> None:
    # Nobody waits for the forks: all they had to say is in their sockets.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    load_all()
    channel = socket.socket(fileno=sys.stdin.fileno())
    while handed := socket.recv_fds(channel, 1, 1)[1]:
        if os.fork() == 0:
            _answer(handed[0])
        os.close(handed[0])


def _answer(descriptor: int) -> None:
    """Does not return: the rest of the program is not the fork's."""
    with contextlib.suppress(BaseException):
        _bound(resource.RLIMIT_CORE, 0)
        _bound(resource.RLIMIT_AS, _MOST_MEMORY)
        _bound(resource.RLIMIT_CPU, _MOST_SECONDS)
        with socket.socket(fileno=descriptor) as line, line.makefile("rw", encoding="utf-8") as stream:
            asked = json.load(stream)
            print(file=stream, flush=True)
            for source in asked:
                print(json.dumps(_read(source)), file=stream, flush=True)
    os._exit(0)


def _bound(what: int, limit: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(what, (bound, bound))


def _read(source: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        problem = problem_in(source["text"], source["grammar"], source["dialect"])
    except Unverifiable as reason:
        return {"why": str(reason)}
    return None if problem is None else asdict(problem)


if __name__ == "__main__":
    main()
