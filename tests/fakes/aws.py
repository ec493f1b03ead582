"""`python -m tests.fakes.aws PORT FILE`: moto's server, which notes in a file who called which action on what.

Moto's own recorder keeps whole bodies, and mixes up those that come at the same time.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

from tests.aws_calls import call_of

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Noting:
    def __init__(self, application: Application, path: str) -> None:
        self._application = application
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if call := call_of(environ):
            # One write: requests come at the same time.
            os.write(self._file, f"{json.dumps(asdict(call))}\n".encode())
        return self._application(environ, start_response)


def main(port: str, path: str) -> None:
    application = Noting(DomainDispatcherApplication(create_backend_app), path)
    run_simple("127.0.0.1", int(port), application, threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
