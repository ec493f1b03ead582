"""Looks a subject up on the web, writes about it, cites what it found, and checks that the sources say so.

::

    START ─► plan ─┬─► search ──────► draft ─┬─► check ─┬─► END
                   └─ nothing to find ─►     └─► END    └─► draft, once more

Each node ends in a checkpoint, which costs a write. So reading what was found belongs to the search, and citing to the
draft: both are cheap and come out the same again. Cheap is what a model means to write: the longest answers take half a
second to read, so that threads do it and the event loop goes on.
"""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from langgraph.graph import END, START
from langgraph.runtime import Runtime

from app.agents.base import AgentOutput, AgentRequest
from app.agents.citations import cite, cited_numbers
from app.agents.content.characters import visible
from app.agents.content.checking import (
    SupportVerdict,
    UnsupportedClaim,
    check_messages,
    checked_part,
    findings_of,
    named,
    repair_request,
)
from app.agents.content.citing import check_citations
from app.agents.content.conversation import conversation
from app.agents.content.paragraphs import factual_paragraphs
from app.agents.content.planning import ResearchPlan, plan_messages, queries_of
from app.agents.content.sources import ranked, read
from app.agents.graphs import AgentState, Graph, GraphAgent, Work
from app.agents.links import LinkFilter, addresses_in
from app.agents.markdown import checked_output, summarize, unwrapped
from app.agents.metering import WEB_SEARCH
from app.errors import CircuitOpen, ExecutionError
from app.llm.errors import AgentOutputInvalid, SearchError
from app.llm.messages import Message, correction
from app.llm.search import SearchResult, WebSearch
from app.llm.usage import ModelRole

MOST_REPAIRS = 1
NO_SOURCES_LINE = "_Written without web sources._"


class Unsourced(StrEnum):
    """Why a text has no sources."""

    NO_SEARCH = "no_search"
    NO_FACTS = "no_facts"
    NOTHING_FOUND = "nothing_found"


class ContentState(AgentState, total=False):
    unsourced: Unsourced | None
    queries: list[str]
    failed_queries: int
    sources: list[SearchResult]
    draft: str
    removed_links: int
    checks: int
    unchecked: int
    findings: list[UnsupportedClaim]


class ContentAgent(GraphAgent[ContentState]):
    """Without a search it writes without sources and says so; a failing search is an error, worth a retry."""

    state = ContentState

    def build(self, graph: Graph) -> None:
        for node in (self.plan, self.search, self.draft, self.check):
            graph.add_node(node.__name__, node)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", _after_plan, {"search": "search", "draft": "draft"})
        graph.add_edge("search", "draft")
        graph.add_conditional_edges("draft", _after_draft, {"check": "check", "end": END})
        graph.add_conditional_edges("check", _after_check, {"draft": "draft", "end": END})

    async def plan(self, state: ContentState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentOutputInvalid` when the model plans a text with facts and no search."""
        request, tools = runtime.context.request, runtime.context.tools
        if not tools.search.available:
            return {"queries": [], "unsourced": Unsourced.NO_SEARCH}
        asked = plan_messages(state["task"], request.history)
        queries = queries_of((await tools.chat.structured(ModelRole.CONTENT, asked, ResearchPlan)).value)
        return {"queries": queries, "unsourced": None if queries else Unsourced.NO_FACTS}

    async def search(self, state: ContentState, runtime: Runtime[Work]) -> dict[str, object]:
        """Finds the sources, all queries at once. Raises what the first query failed with when all of them failed."""
        tools, queries = runtime.context.tools, state["queries"]
        answers = await asyncio.gather(*(_searched(tools.search, query, tools.max_sources) for query in queries))
        failures = [answer for answer in answers if isinstance(answer, ExecutionError)]
        if len(failures) == len(answers):
            raise failures[0]
        found = ranked(answer for answer in answers if not isinstance(answer, ExecutionError))
        sources = read(found, most=tools.max_sources)
        return {
            "sources": sources,
            "failed_queries": len(failures),
            "unsourced": None if sources else Unsourced.NOTHING_FOUND,
        }

    async def draft(self, state: ContentState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentOutputInvalid` when the answer is unusable, cites what was not found, or does not cite."""
        request, sources = runtime.context.request, state.get("sources", [])
        answer = await runtime.context.tools.chat.complete(ModelRole.CONTENT, _draft_messages(state, request))
        links = LinkFilter([*addresses_in(state["task"]), *(source.url for source in sources)])
        text = await asyncio.to_thread(_read, answer.text, links, sources)
        return {"draft": text, "removed_links": links.removed}

    async def check(self, state: ContentState, runtime: Runtime[Work]) -> dict[str, object]:
        """Raises `AgentOutputInvalid` when the verdict is about another text."""
        paragraphs = await asyncio.to_thread(factual_paragraphs, state["draft"])
        checked = checked_part(paragraphs)
        asked = check_messages(state["task"], checked, state["sources"])
        verdict = await runtime.context.tools.chat.structured(ModelRole.CONTENT, asked, SupportVerdict)
        return {
            "findings": findings_of(verdict.value, len(checked)),
            "checks": state.get("checks", 0) + 1,
            "unchecked": len(paragraphs) - len(checked),
        }

    def output(self, state: ContentState) -> AgentOutput:
        """Raises `AgentOutputInvalid` for a text that was repaired and is still not supported by its sources."""
        findings = state.get("findings", [])
        if findings:
            # Raised behind the last node, so that the next attempt begins afresh, with other queries and sources.
            raise AgentOutputInvalid(
                f"the self-check found claims that the cited sources do not support, in paragraph {named(findings)}"
            )
        text, citations = cite(state["draft"], state.get("sources", []))
        if state["unsourced"] in {Unsourced.NO_SEARCH, Unsourced.NOTHING_FOUND}:
            text = f"{text}\n\n{NO_SOURCES_LINE}"
        return AgentOutput(
            summary=summarize(text),
            raw_output=text,
            citations=citations,
            tools_used=(WEB_SEARCH,) if state["queries"] else (),
            notes=tuple(_notes(state)),
        )


async def _searched(search: WebSearch, query: str, most: int) -> list[SearchResult] | ExecutionError:
    try:
        return await search.search(query, max_results=most)
    except (SearchError, CircuitOpen) as error:
        return error


def _read(answer: str, links: LinkFilter, sources: Sequence[SearchResult]) -> str:
    text = checked_output(links.clean(visible(unwrapped(checked_output(answer)))))
    check_citations(text, sources)
    return text


def _draft_messages(state: ContentState, request: AgentRequest) -> tuple[Message, ...]:
    asked = conversation(state["task"], state.get("sources", []), request.history)
    findings = state.get("findings", [])
    if not findings:
        return (*asked, *request.corrections)
    repair = (Message("assistant", state["draft"]), correction(repair_request(findings)))
    return (*asked, *repair, *request.corrections)


# Coroutines, because LangGraph runs a plain function in a thread of its own.
async def _after_plan(state: ContentState) -> str:
    return "search" if state["queries"] else "draft"


async def _after_draft(state: ContentState) -> str:
    return "check" if await asyncio.to_thread(_is_checkable, state["draft"]) else "end"


async def _after_check(state: ContentState) -> str:
    return "draft" if state["findings"] and state["checks"] <= MOST_REPAIRS else "end"


def _is_checkable(draft: str) -> bool:
    return bool(cited_numbers(draft) and factual_paragraphs(draft))


def _notes(state: ContentState) -> list[str]:
    failed, removed, unchecked = state.get("failed_queries", 0), state["removed_links"], state.get("unchecked", 0)
    return [
        *([_reason(state["unsourced"])] if state["unsourced"] else []),
        *([f"{failed} of {len(state['queries'])} searches failed; the others were used."] if failed else []),
        *([f"Removed from the text: {removed} links or images that lead to no page it rests on."] if removed else []),
        *([f"Not checked against the sources: the last {unchecked} paragraphs."] if unchecked else []),
    ]


def _reason(unsourced: Unsourced) -> str:
    match unsourced:
        case Unsourced.NO_SEARCH:
            return "Written without web sources: this deployment has no search."
        case Unsourced.NO_FACTS:
            return "Written without web sources: the task asks for no facts."
        case Unsourced.NOTHING_FOUND:
            return "Written without web sources: the search found no page that could be used."
        case _:
            assert_never(unsourced)
