"""Writes code. It never runs any.

::

    START ─► write ─► END
"""

from langgraph.graph import END, START
from langgraph.runtime import Runtime

from app.agents.base import AgentOutput
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.agents.markdown import CodeBlock, checked_output, code_blocks, summarize
from app.agents.prompt import load_prompt
from app.llm.errors import AgentOutputInvalid
from app.llm.languages import language_named_in, language_of_tag
from app.llm.messages import Message
from app.llm.usage import ModelRole

PLAIN_TEXT = "text"


class CodeState(AgentState, total=False):
    text: str
    language: str


class CodeAgent(GraphAgent[CodeState]):
    state = CodeState

    def build(self, graph: Graph) -> None:
        graph.add_node("write", self.write)
        graph.add_edge(START, "write")
        graph.add_edge("write", END)

    async def write(self, state: CodeState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentOutputInvalid` when the answer holds no complete code block."""
        work = runtime.context
        asked = (Message("system", load_prompt("code").render()), Message("user", state["task"]))
        answer = await work.tools.chat.complete(ModelRole.CODE, (*asked, *work.request.corrections))
        text = checked_output(answer.text)
        return {"text": text, "language": code_language(state["task"], main_block(text))}

    def output(self, state: CodeState) -> AgentOutput:
        return AgentOutput(
            summary=summarize(state["text"], fallback=f"Code in {state['language']}."),
            raw_output=state["text"],
            code_language=state["language"],
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
