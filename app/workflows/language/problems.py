"""What is wrong with a workflow."""

from collections.abc import Sequence

from app.source_problems import DocumentInvalid, Problem


class WorkflowInvalid(DocumentInvalid):
    code = "WORKFLOW_INVALID"
    title = "Workflow invalid"

    def __init__(self, problems: Sequence[Problem], *, source: str = "workflow") -> None:
        super().__init__(problems, source=source)
