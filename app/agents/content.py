"""Searches the web, then writes from what was found and cites it.

::

    START ─► search ─► write ─► END
"""

import html
from collections.abc import Sequence

from langgraph.graph import END, START
from langgraph.runtime import Runtime

from app.agents.base import AgentOutput, Citation
from app.agents.citations import cite
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.agents.markdown import checked_output, summarize
from app.agents.metering import WEB_SEARCH
from app.agents.prompt import load_prompt
from app.llm.messages import Message
from app.llm.search import SearchResult
from app.llm.usage import ModelRole

LONGEST_SNIPPET = 1500
_NO_SOURCES = "No sources were found."


class ContentState(AgentState, total=False):
    sources: list[SearchResult]
    searched: bool
    text: str
    citations: list[Citation]


class ContentAgent(GraphAgent[ContentState]):
    """Without a search it writes without sources and says so; a failing search is an error, worth a retry."""

    state = ContentState

    def build(self, graph: Graph) -> None:
        graph.add_node("search", self.search)
        graph.add_node("write", self.write)
        graph.add_edge(START, "search")
        graph.add_edge("search", "write")
        graph.add_edge("write", END)

    async def search(self, state: ContentState, runtime: Runtime[Work]) -> dict[str, object]:
        tools = runtime.context.tools
        sources = await tools.search.search(state["task"], max_results=tools.max_sources)
        return {"sources": sources, "searched": tools.search.available}

    async def write(self, state: ContentState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentOutputInvalid` when the answer is unusable or cites what was not found."""
        sources, work = state["sources"], runtime.context
        messages = (*conversation(state["task"], sources), *work.request.corrections)
        answer = await work.tools.chat.complete(ModelRole.CONTENT, messages)
        text, citations = cite(checked_output(answer.text), sources)
        return {"text": text, "citations": list(citations)}

    def output(self, state: ContentState) -> AgentOutput:
        return AgentOutput(
            summary=summarize(state["text"]),
            raw_output=state["text"],
            citations=tuple(state["citations"]),
            tools_used=(WEB_SEARCH,) if state["searched"] else (),
        )


def conversation(task: str, sources: Sequence[SearchResult]) -> tuple[Message, Message]:
    """Instructions and material apart: what strangers wrote is in the user's message, escaped and between tags."""
    material = load_prompt("content_task").render(task=task, sources=_listed(sources))
    return Message("system", load_prompt("content").render()), Message("user", material)


def _listed(sources: Sequence[SearchResult]) -> str:
    return "\n".join(_source(number, result) for number, result in enumerate(sources, start=1)) or _NO_SOURCES


def _source(number: int, result: SearchResult) -> str:
    title, url = html.escape(" ".join(result.title.split())), html.escape(result.url)
    # Escaped, so that a page cannot close its own tag and speak as somebody else.
    return (
        f'<source id="{number}" title="{title}" url="{url}">{html.escape(_cut(result.snippet), quote=False)}</source>'
    )


def _cut(snippet: str) -> str:
    flat = " ".join(snippet.split())
    return flat if len(flat) <= LONGEST_SNIPPET else f"{flat[:LONGEST_SNIPPET].rsplit(' ', 1)[0]}…"
