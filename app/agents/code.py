"""Writes code. It never runs any."""

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.markdown import CodeBlock, checked_output, code_blocks, summarize
from app.agents.prompt import load_prompt
from app.llm.errors import AgentOutputInvalid
from app.llm.languages import language_named_in, language_of_tag
from app.llm.messages import Message
from app.llm.usage import ModelRole

PLAIN_TEXT = "text"


class CodeAgent(BaseAgent):
    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        """Raises `AgentOutputInvalid` when the answer holds no complete code block."""
        messages = (Message("system", load_prompt("code").render()), Message("user", request.text))
        answer = await tools.chat.complete(ModelRole.CODE, messages)
        text = checked_output(answer.text)
        language = code_language(request.text, main_block(text))
        return AgentOutput(
            summary=summarize(text, fallback=f"Code in {language}."), raw_output=text, code_language=language
        )


def main_block(markdown: str) -> CodeBlock:
    """The longest block: the others are how to install, call or test it."""
    blocks = code_blocks(markdown)
    if not blocks:
        raise AgentOutputInvalid("the model's answer has no complete code block")
    return max(blocks, key=lambda block: len(block.body))


def code_language(task: str, block: CodeBlock) -> str:
    """What the task asks for, else what the fence says, else `text`."""
    return language_named_in(task) or language_of_tag(block.tag) or PLAIN_TEXT
