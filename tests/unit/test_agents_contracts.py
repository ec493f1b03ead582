"""What an agent gives back is kept only if it can be, whoever wrote the agent."""

from dataclasses import replace
from typing import Any, cast

import pytest

from app.agents.base import AgentOutput, OutputFile
from app.agents.contracts import LARGEST_TEXTS, check_output
from app.agents.specs import BUILT_IN
from app.llm.errors import AgentOutputInvalid

SPEC = replace(BUILT_IN[0], name="PluginAgent", output_model=None)
FINE = AgentOutput("All is well.", "All is well.", files=(OutputFile("src/app.py", "x = 1\n"),))


def test_an_answer_that_can_be_kept_passes() -> None:
    check_output(SPEC, FINE)


@pytest.mark.parametrize("path", ["../escape.py", "/etc/passwd", "a/../../b", "C:\\b.py", "", ".git/config"])
def test_a_file_that_would_leave_its_folder_makes_the_answer_invalid(path: str) -> None:
    with pytest.raises(AgentOutputInvalid, match="PluginAgent"):
        check_output(SPEC, replace(FINE, files=(OutputFile(path, "x"),)))


def test_two_files_of_one_path_make_the_answer_invalid() -> None:
    with pytest.raises(AgentOutputInvalid):
        check_output(SPEC, replace(FINE, files=(OutputFile("a.py", "x"), OutputFile("A.py", "y"))))


@pytest.mark.parametrize(
    "output",
    [
        None,
        "a text",
        replace(FINE, raw_output=cast("str", 5)),
        replace(FINE, summary="half \ud83d"),
        replace(FINE, notes=(cast("str", None),)),
        replace(FINE, files=cast("Any", (None,))),
        replace(FINE, raw_output="x" * (LARGEST_TEXTS + 1)),
    ],
    ids=["nothing", "text", "number", "half a character", "no note", "no file", "huge"],
)
def test_what_could_not_be_stored_makes_the_answer_invalid(output: Any) -> None:
    with pytest.raises(AgentOutputInvalid, match="PluginAgent"):
        check_output(SPEC, output)
