from dataclasses import replace

import pytest

from app.agents.code import CodeAgent, code_language, main_block
from app.agents.markdown import CodeBlock
from app.llm.errors import AgentOutputInvalid
from app.llm.usage import ModelRole
from tests.unit.test_agents_fakes import ScriptedChat, a_request, tools_with

ANSWER = "This reverses a string.\n\n```js\nconst a = 1;\n```"


async def test_an_answer_keeps_its_explanation_and_names_its_language() -> None:
    chat = ScriptedChat(ANSWER)

    output = await CodeAgent().run(a_request("reverse a string"), tools_with(chat))

    assert output.raw_output == ANSWER
    assert output.code_language == "javascript"
    assert output.summary == "This reverses a string."
    assert chat.asked[0][0] is ModelRole.CODE


async def test_why_the_last_answer_was_refused_is_the_last_thing_the_model_reads() -> None:
    chat = ScriptedChat(ANSWER)
    again = replace(a_request("reverse a string"), feedback="the model's answer has no complete code block")

    await CodeAgent().run(again, tools_with(chat))

    messages = chat.asked[0][1]
    assert [message.role for message in messages] == ["system", "user", "user"]
    assert "has no complete code block" in messages[-1].content


async def test_an_answer_without_code_is_invalid() -> None:
    with pytest.raises(AgentOutputInvalid, match="no complete code block"):
        await CodeAgent().run(a_request("reverse"), tools_with(ScriptedChat("I would rather not.")))


@pytest.mark.parametrize(
    ("task", "tag", "language"),
    [
        ("A function in Go", "js", "go"),
        ("A function", "py", "python"),
        ("A function", "", "text"),
        ("A function", "brainfuck", "text"),
    ],
)
def test_the_task_names_the_language_before_the_fence_does(task: str, tag: str, language: str) -> None:
    assert code_language(task, CodeBlock(tag, "x")) == language


def test_the_longest_block_is_the_program() -> None:
    answer = "```bash\npip install x\n```\n\n```python\nimport x\n\nx.run(everything=True)\n```"

    assert main_block(answer).tag == "python"


async def test_a_task_may_contain_anything_a_template_would_read() -> None:
    chat = ScriptedChat(ANSWER)

    await CodeAgent().run(a_request("echo $HOME ${x} {y} %s"), tools_with(chat))

    assert chat.asked[0][1][1].content == "echo $HOME ${x} {y} %s"
