"""Why a tool was not called, or gave nothing of use.

::

    ExecutionError
    ├── ToolNotAllowed           TOOL_NOT_ALLOWED         the agent may not call it
    ├── ToolArgumentsInvalid     TOOL_ARGUMENTS_INVALID   they do not fit the tool's schema; nothing was called
    ├── ToolNotUsable            TOOL_NOT_USABLE          it is not there, or not as its description says
    ├── ToolFailed               TOOL_FAILED              it was called and reports an error, told in `output`
    └── ToolUnavailable          TOOL_UNAVAILABLE         retryable: its server does not answer
        ├── ToolNotReached       TOOL_UNAVAILABLE         retryable: and the tool was certainly not called
        └── ToolTimeout          TOOL_TIMEOUT             retryable: no result in time

Messages are safe to show and to store: no arguments and nothing that a tool said are in them.
"""

from app.effects.errors import ReceiverBusy
from app.errors import ExecutionError


class ToolNotAllowed(ExecutionError):
    code = "TOOL_NOT_ALLOWED"
    title = "Tool not allowed"


class ToolArgumentsInvalid(ExecutionError):
    """Worth another try by whoever made the arguments; the message names the fields."""

    code = "TOOL_ARGUMENTS_INVALID"
    title = "Tool arguments invalid"


class ToolNotUsable(ExecutionError):
    code = "TOOL_NOT_USABLE"
    title = "Tool not usable"


class ToolFailed(ExecutionError):
    """`output` is what the tool said, cut like a result: material for a model, not for a message or a log."""

    code = "TOOL_FAILED"
    title = "Tool failed"

    def __init__(self, message: str, /, *, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class ToolUnavailable(ExecutionError):
    code = "TOOL_UNAVAILABLE"
    title = "Tool unavailable"
    retryable = True


class ToolNotReached(ToolUnavailable, ReceiverBusy):
    """The ledger of effects may believe that nothing happened."""

    code = "TOOL_UNAVAILABLE"
    title = "Tool unavailable"


class ToolTimeout(ToolUnavailable):
    code = "TOOL_TIMEOUT"
    title = "Tool timed out"
