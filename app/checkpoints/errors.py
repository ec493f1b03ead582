"""Why the state of an agent cannot be used or kept. What a store answers in between is passed on as it is."""

from app.errors import ExecutionError, OrchestratorError


class CheckpointUnusable(OrchestratorError):
    """What was saved cannot be read, is of another graph, or names a type that may not be built: start afresh."""

    code = "CHECKPOINT_UNUSABLE"
    title = "Checkpoint unusable"


class StateNotStorable(ExecutionError):
    """An agent keeps something in its state that no other process could read; the agent has to be changed."""

    code = "STATE_NOT_STORABLE"
    title = "Agent state not storable"
