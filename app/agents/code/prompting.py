"""What the model is asked, put together from the prompt files, the session so far and the code that was handed in."""

import re
from collections.abc import Sequence

from app.agents.base import AgentRequest, OutputFile
from app.agents.code.assignment import Assignment
from app.agents.code.contract import Mode
from app.agents.prompt import Prompt, load_prompt
from app.llm.messages import Message

_FENCE = re.compile(r"`{3,}")
_OPEN = "as the task says"


def conversation(request: AgentRequest, assignment: Assignment) -> tuple[Message, ...]:
    """Instructions, history, and the task with its material: that of the session is in the history already."""
    prompt = _prompt_for(assignment.mode)
    instructions = prompt.render(mode=assignment.mode, language=assignment.language or _OPEN)
    task = request.text
    if assignment.handed_in:
        task = f"{task}\n\n{_listed(assignment.material, numbered=assignment.mode is Mode.REVIEW)}"
    return (Message("system", instructions), *request.history, Message("user", task), *request.corrections)


def _prompt_for(mode: Mode) -> Prompt:
    """One prompt of two files, so that its digest changes with either."""
    name = f"code_{mode}"
    return Prompt(f"{load_prompt('code').text}\n{load_prompt(name).text}", name)


def _listed(files: Sequence[OutputFile], *, numbered: bool) -> str:
    return "\n\n".join(_fenced(file, numbered=numbered) for file in files)


def _fenced(file: OutputFile, *, numbered: bool) -> str:
    # Longer than any fence inside, so that a file cannot end its own block and speak as somebody else.
    fence = "`" * max(3, 1 + max((len(found[0]) for found in _FENCE.finditer(file.content)), default=0))
    body = _numbered(file.content) if numbered else file.content
    return f"{fence}{file.language or ''} path={file.path}\n{body.rstrip(chr(10))}\n{fence}"


def _numbered(content: str) -> str:
    return "\n".join(f"{number:>4} | {line}" for number, line in enumerate(content.rstrip("\n").split("\n"), start=1))
