"""Every exit code of `orchestrate`, in one place; `docs/reference/cli.md` lists them from here."""

from enum import IntEnum

from app.errors import Invalid, NotFound, OrchestratorError, Unavailable


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    STILL_RUNNING = 4
    UNAVAILABLE = 5
    ALREADY_RUNNING = 6
    AWAITING_APPROVAL = 7
    DIVERGED = 8
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "Done: the task completed, every check passed, the stack stopped cleanly.",
    ExitCode.FAILED: "The task failed, a check or an output failed, a replay differs, or a part of the stack did not "
    "start.",
    ExitCode.USAGE: "Wrong usage, wrong configuration, input the server refused, or something that is not there.",
    ExitCode.CANCELLED: "The task was cancelled.",
    ExitCode.STILL_RUNNING: "Gave up waiting after --timeout; the task goes on.",
    ExitCode.UNAVAILABLE: "The server cannot be reached or cannot serve now; try again.",
    ExitCode.ALREADY_RUNNING: "A stack is already running on this data folder.",
    ExitCode.AWAITING_APPROVAL: "The task, or the run of a workflow, waits for somebody's answer.",
    ExitCode.DIVERGED: "The replayed agent asked for something that was not recorded.",
    ExitCode.INTERRUPTED: "Ctrl-C: a task that was followed goes on; a run of this machine can be resumed.",
}

_OF_STATUS = {
    "completed": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.CANCELLED,
    "awaiting_approval": ExitCode.AWAITING_APPROVAL,
}

# By name: their modules take longer to load than all that `--help` needs.
_OF_CODE = {
    "STACK_RUNNING": ExitCode.ALREADY_RUNNING,
    "REFUSED": ExitCode.USAGE,
    "CONFIGURATION_ERROR": ExitCode.USAGE,
}


def code_of_status(status: str) -> ExitCode:
    return _OF_STATUS.get(status, ExitCode.STILL_RUNNING)


def code_of_error(error: OrchestratorError) -> ExitCode:
    match error:
        case Unavailable():
            return ExitCode.UNAVAILABLE
        case Invalid() | NotFound():
            return ExitCode.USAGE
        case _:
            return _OF_CODE.get(error.code, ExitCode.FAILED)
