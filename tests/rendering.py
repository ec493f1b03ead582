"""What a CommonMark renderer makes of a text: the independent judge of links and images."""

import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

_ELSEWHERE = re.compile(r"(?:image|markup|[a-z][a-z0-9+.-]*):|[/\\]{2}", re.IGNORECASE)
_MARKUP = re.compile(r"<(?:[A-Za-z/][^<>]*=|[!?]|script|style)", re.IGNORECASE)
# Many renderers link these although CommonMark does not.
_BARE = re.compile(r"https?://[\w-]+\.\S*|(?<![a-z0-9])www\.[\w-]+\.\S*", re.IGNORECASE)


def strangers(markdown: str, known: Iterable[str] = ()) -> list[str]:
    """Everything a renderer would link, load or pass on as active markup, except links to what is known."""
    addresses = tuple(known)
    rest = markdown
    for address in addresses:
        rest = rest.replace(f"<{address}>", "").replace(address, "")
    rendered = [target for token in MarkdownIt("commonmark").parse(markdown) for target in _targets(token, addresses)]
    return [*(one for one in rendered if _ELSEWHERE.match(one) and one not in addresses), *_BARE.findall(rest)]


def _targets(token: Token, known: tuple[str, ...]) -> list[str]:
    own = [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]
    if token.type == "image":
        own = [f"image:{own[0]}"]
    if token.type in {"html_inline", "html_block"} and _MARKUP.search(_without(token.content, known)):
        own = [f"markup:{token.content}"]
    return [*own, *(target for child in token.children or () for target in _targets(child, known))]


def _without(content: str, known: tuple[str, ...]) -> str:
    for address in known:
        content = content.replace(f"<{address}>", "")
    return content
