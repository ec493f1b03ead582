"""What the writer is asked: instructions and material apart, the material escaped and between tags."""

import html
from collections.abc import Collection, Sequence

from app.agents.prompt import load_prompt
from app.llm.messages import Message
from app.llm.search import SearchResult

_NO_SOURCES = "No sources were found."


def conversation(task: str, sources: Sequence[SearchResult], history: Sequence[Message] = ()) -> tuple[Message, ...]:
    """What strangers wrote is in the last user's message; what was said before in the session stands before that."""
    material = load_prompt("content_task").render(task=task, sources=source_tags(sources) or _NO_SOURCES)
    return Message("system", load_prompt("content").render()), *history, Message("user", material)


def source_tags(sources: Sequence[SearchResult], *, only: Collection[int] | None = None) -> str:
    """The sources by number, from 1; with `only` some of them, under the same numbers."""
    numbered = enumerate(sources, start=1)
    return "\n".join(_source(number, result) for number, result in numbered if only is None or number in only)


def _source(number: int, result: SearchResult) -> str:
    title, url = html.escape(result.title), html.escape(result.url)
    # Escaped, so that a page cannot close its own tag and speak as somebody else.
    return f'<source id="{number}" title="{title}" url="{url}">{html.escape(result.snippet, quote=False)}</source>'
