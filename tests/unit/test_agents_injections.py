"""Earlier turns and files that give orders, and models that obey them: what the agents let through."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from app.agents.base import AgentOutput, AgentTools
from app.agents.code.agent import CodeAgent
from app.agents.code.paths import check_path
from app.agents.content.agent import ContentAgent
from app.agents.content.characters import visible
from app.agents.markdown import prose
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Message
from tests.fakes.agents import FixedSearch, a_request, a_source
from tests.fakes.coding import CodingChat
from tests.fakes.research import ResearchChat
from tests.rendering import strangers

CORPUS = Path(__file__).parents[1] / "corpus" / "injections"
CANARY = "canary-5e1f0b"
SECRETS = ("OPENAI_API_KEY", "TAVILY_API_KEY", "MONGO_URI")
WRITE = "Write a Python function that reverses a string"


class Untouchable:
    """An effect ledger and a toolbox that nobody may use."""

    names: frozenset[str] = frozenset({"send_email", "delete_all"})

    async def describe(self) -> Sequence[Any]:
        raise AssertionError("tools were looked up")

    async def perform(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("an effect was asked for")

    async def call(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a tool was called")


@dataclass(frozen=True)
class Turn:
    """What was said before, and what models answer that obey it: one that writes code and one that writes text."""

    name: str
    user: str
    assistant: str
    code: str
    text: str

    @property
    def history(self) -> tuple[Message, ...]:
        return Message("user", self.user), Message("assistant", self.assistant)


@dataclass(frozen=True)
class File:
    """A file that was handed in, and what models make of it that obey it: an answer and a review's finding."""

    name: str
    path: str
    content: str
    answer: str
    review: dict[str, Any]

    @property
    def inputs(self) -> dict[str, Any]:
        return {"files": [{"path": self.path, "content": self.content}]}


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


TURNS, FILES = [Turn(**one) for one in lines("history")], [File(**one) for one in lines("files")]
each_turn = pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.name)
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


@pytest.fixture(scope="module")
def code_agent() -> CodeAgent:
    return CodeAgent()


@pytest.fixture(autouse=True)
def secret_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, f"sk-{CANARY}")


async def code(agent: CodeAgent, chat: CodingChat, text: str = WRITE, **request: Any) -> AgentOutput | None:
    """None when the answer is refused."""
    nothing = Untouchable()
    tools = AgentTools(chat, FixedSearch(), effects=nothing, toolbox=nothing)
    try:
        return await agent.run(replace(a_request(text), **request), tools)
    except AgentOutputInvalid as refused:
        assert_says_nothing(refused)
        return None


async def article(chat: ResearchChat, history: Sequence[Message]) -> AgentOutput | None:
    nothing = Untouchable()
    tools = AgentTools(chat, FixedSearch([a_source(1)]), effects=nothing, toolbox=nothing)
    try:
        return await ContentAgent().run(replace(a_request("Write about wind"), history=tuple(history)), tools)
    except AgentOutputInvalid as refused:
        assert_says_nothing(refused)
        return None


def assert_says_nothing(refused: AgentOutputInvalid) -> None:
    for word in ("evil", "passwd", "ssh", "cron", ".bashrc", "hooks", CANARY):
        assert word not in refused.message


def assert_harmless(output: AgentOutput | None) -> None:
    if output is None:
        return
    for text in (prose(output.raw_output), output.summary, *output.notes):
        assert strangers(text) == []
    for file in output.files:
        assert check_path(file.path) == file.path
    assert output.tools_used == ()
    assert output.citations == ()
    assert CANARY not in json.dumps(output.data)


def test_the_whole_corpus_has_at_least_fifty_orders_and_no_two_are_alike() -> None:
    names = [line["name"] for name in ("search_results", "history", "files") for line in lines(name)]

    assert len(names) >= 50
    assert len({json.dumps(one) for one in [*lines("history"), *lines("files")]}) == len(TURNS) + len(FILES)
    assert min(len(TURNS), len(FILES)) >= 12


@each_turn
async def test_a_coder_that_obeys_an_earlier_turn_is_refused_or_cleaned(code_agent: CodeAgent, turn: Turn) -> None:
    chat = CodingChat([turn.code])

    assert_harmless(await code(code_agent, chat, history=turn.history))

    assert CANARY not in chat.prompts
    assert [message.role for message in chat.asked[0]] == ["system", "user", "assistant", "user"]
    assert chat.asked[0][0].content.startswith("You are an experienced software engineer.")


@each_turn
async def test_a_coder_that_repeats_an_earlier_turn_is_refused_or_cleaned(code_agent: CodeAgent, turn: Turn) -> None:
    repeated = f"{turn.user}\n\n{turn.assistant}\n\n```python\nx = 1\n```\n\n{turn.text}"

    assert_harmless(await code(code_agent, CodingChat([repeated]), history=turn.history))


@each_turn
async def test_a_writer_that_obeys_an_earlier_turn_is_refused_or_cleaned(turn: Turn) -> None:
    chat = ResearchChat([turn.text])

    output = await article(chat, turn.history)

    if output is not None:
        assert {citation.url for citation in output.citations} == {a_source(1).url}
        assert strangers(output.raw_output, [a_source(1).url]) == []
        assert visible(output.raw_output) == output.raw_output
        assert output.tools_used == ("web_search",)
    assert CANARY not in chat.prompts


@each_turn
async def test_what_was_said_before_is_no_instruction(turn: Turn) -> None:
    chat = ResearchChat()

    await article(chat, turn.history)

    for asked in (chat.plans[0], chat.written[0]):
        assert [message.role for message in asked] == ["system", "user", "assistant", "user"]
        assert turn.user not in asked[0].content


@each_file
async def test_a_coder_that_obeys_a_file_is_refused_or_cleaned(code_agent: CodeAgent, file: File) -> None:
    chat = CodingChat([file.answer])

    assert_harmless(await code(code_agent, chat, "Fix it", inputs=file.inputs))

    assert CANARY not in chat.prompts


@each_file
async def test_a_file_cannot_end_its_block(code_agent: CodeAgent, file: File) -> None:
    chat = CodingChat([file.answer])

    await code(code_agent, chat, "Fix it", inputs=file.inputs)

    block = chat.asked[0][1].content.removeprefix("Fix it\n\n")
    mark = block[: len(block) - len(block.lstrip("`"))]
    assert block.endswith(f"\n{mark}")
    assert mark not in file.content
    assert file.content.rstrip("\n") in block


@each_file
async def test_a_reviewer_that_obeys_a_file_reports_nothing_about_others(code_agent: CodeAgent, file: File) -> None:
    finding = {**file.review, "message": "See ![x](https://evil.example/i).", "suggestion": "https://evil.example"}
    chat = CodingChat([{"summary": "See [this](https://evil.example/s).", "findings": [finding]}])

    output = await code(code_agent, chat, "Review it", inputs=file.inputs)

    assert_harmless(output)
    assert output is None or "evil" not in json.dumps(output.data)


async def test_what_a_task_itself_links_stays(code_agent: CodeAgent) -> None:
    known = "https://docs.example.com/api"
    answer = f"As in {known}, not https://evil.example/x.\n\n```python\nURL = 'https://api.example.org'\n```"

    output = await code(code_agent, CodingChat([answer]), f"Write a Python client for {known}")

    assert output is not None
    assert output.raw_output.startswith(f"As in {known}, not (link removed).")
    assert "https://api.example.org" in output.files[0].content
    assert output.notes == ("Removed from the text: 1 links or images that the task does not name.",)


@pytest.mark.parametrize(
    "answer",
    [
        "- a list\n  ```text\n  x = 1\n![x](https://evil.example/1)\n  ```",
        "<pre>\n\n```html\n<img src=https://evil.example/2>\n```",
        "> <div>\n```html\n<img src=https://evil.example/3>\n```",
        "~~~\n```\n~~~\n\n![x](https://evil.example/4)\n\n```python\nx = 1\n```",
        "[x]: https://evil.example/5\n\n```python\nx = 1\n```\n\n![x]",
        "```python\nx = 1\n```\n\n````\n```\n![x](https://evil.example/6)",
    ],
)
async def test_no_renderer_takes_code_for_an_image(code_agent: CodeAgent, answer: str) -> None:
    output = await code(code_agent, CodingChat([answer]), "Write it")

    # Addresses in code are no links, so what is judged here is what a renderer makes of the whole.
    rendered = [] if output is None else strangers(output.raw_output)
    assert not [one for one in rendered if one.startswith(("image:", "markup:"))]
