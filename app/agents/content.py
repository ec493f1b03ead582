"""Searches the web, then writes from what was found and cites it."""

import html
from collections.abc import Sequence

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.citations import cite
from app.agents.markdown import checked_output, summarize
from app.agents.metering import WEB_SEARCH
from app.agents.prompt import load_prompt
from app.llm.messages import Message
from app.llm.search import SearchResult
from app.llm.usage import ModelRole

LONGEST_SNIPPET = 1500
_NO_SOURCES = "No sources were found."


class ContentAgent(BaseAgent):
    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        """Without a search it writes without sources and says so; a failing search is an error, worth a retry."""
        sources = await tools.search.search(request.text, max_results=tools.max_sources)
        answer = await tools.chat.complete(ModelRole.CONTENT, conversation(request.text, sources))
        text, citations = cite(checked_output(answer.text), sources)
        return AgentOutput(
            summary=summarize(text),
            raw_output=text,
            citations=citations,
            tools_used=(WEB_SEARCH,) if tools.search.available else (),
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
