"""Which links a text may have: to pages that are known, such as those its task names or a search found. Pure.

Code is treated like any other text. Where code begins and ends differs between Markdown renderers, and what one of them
takes for code another would load or link.
"""

import html
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit

REMOVED = "(link removed)"

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});")
_IN_ADDRESSES = frozenset(":/\\.@")
# No word boundary in front: Chinese and Japanese put none between a word and an address.
_ESCAPED_SCHEME = re.compile(r"(https?|ftp|file)\\?:\\?/\\?/", re.IGNORECASE)
_IMAGE_OR_LINK = re.compile(
    r"(?P<image>!?)\[(?P<text>[^\[\]\n]{0,500})\]"
    r"\((?P<target>[^()\n]{0,2000}(?:\([^()\n]{0,500}\)[^()\n]{0,2000})?)\)"
)
_REST_OF_A_LINK = re.compile(r"\]\((?=\s*(?P<target>[^\s()]*))")
# A line that gives a target to every `[label]` of the text, citations included.
_DEFINITION = re.compile(r"\]:(?=\s*(?:[<&\\/]|[A-Za-z][A-Za-z0-9+.-]*:))")
_ADDRESS = re.compile(
    r"(?:(?:https?|ftp|file)://|(?<![A-Za-z0-9])www\.)(?:[^\s<>\"'`\[\]()]|\([^\s<>\"'`\[\]()]*\))+",
    re.IGNORECASE,
)
_ENDS_OF_SENTENCE = ".,;:!?*_~"
# Any markup, except a bare tag such as <div> and `List<String>`.
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])(?!/?(?!script|style|svg|math)[A-Za-z][A-Za-z0-9-]{0,30}\s?/?>)", re.IGNORECASE)
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[/\\]{2}|/\\|\\/")
# What follows the opening of an autolink such as <https://example.com>.
_AUTOLINK = re.compile(r"([^\s<>]+)>")
_DEEPEST = 4
_TRACKING = re.compile(r"utm_\w*|[gd]clid|gbraid|wbraid|fbclid|msclkid|yclid|mc_[ce]id|igshid", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def canonical_url(url: str) -> str | None:
    """Equal for addresses of one page; `None` for what is no web address.

    Neither the scheme, `www.`, a default port, the order of the query, tracking parameters nor a closing slash tell
    pages apart. A fragment does: a search names one only when it means that section.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    host = parts.hostname.rstrip(".").removeprefix("www.")
    place = host if port in {None, *_DEFAULT_PORTS.values()} else f"{host}:{port}"
    asked = sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.fullmatch(pair[0]))
    path = parts.path.replace("%28", "(").replace("%29", ")").rstrip("/")
    fragment = parts.fragment.partition(":~:")[0]
    return f"{place}{path}?{urlencode(asked, errors='replace')}#{fragment}"


def addresses_in(text: str) -> list[str]:
    """The web addresses that a text names, in order."""
    return [found[0].rstrip(_ENDS_OF_SENTENCE) for found in _ADDRESS.finditer(text)]


class LinkFilter:
    """Takes out of a text what leads anywhere else; `removed` counts it."""

    def __init__(self, known: Iterable[str]) -> None:
        self.removed = 0
        self._known = {key: _written(url) for url in known if (key := canonical_url(url)) is not None}
        self._addresses = frozenset(self._known.values())

    def clean(self, text: str) -> str:
        """Images become their description, unknown links their text. A known link gets the address that was found."""
        plain = _ESCAPED_SCHEME.sub(r"\1://", _ENTITY.sub(_decoded, text))
        for _ in range(_DEEPEST):
            before, plain = plain, _IMAGE_OR_LINK.sub(self._link, plain)
            if plain == before:
                break
        plain = _DEFINITION.sub("] :", _REST_OF_A_LINK.sub(self._rest, plain))
        return _MARKUP.sub(self._markup, _ADDRESS.sub(self._address, plain)).replace("![", "! [")

    def _link(self, found: re.Match[str]) -> str:
        written = found["target"].strip()
        target = written.split(maxsplit=1)[0].strip("<>") if written else ""
        if not found["image"] and not _leads_elsewhere(target):
            return found[0]
        known = None if found["image"] else self._find(target)
        if known is not None:
            return f"[{found['text']}]({known})"
        self.removed += 1
        return found["text"]

    def _rest(self, found: re.Match[str]) -> str:
        target = found["target"].strip("<>")
        if not _leads_elsewhere(target) or target in self._addresses:
            return found[0]
        self.removed += 1
        return "] ("

    def _address(self, found: re.Match[str]) -> str:
        address = found[0].rstrip(_ENDS_OF_SENTENCE)
        known = self._find(address)
        if known is None:
            self.removed += 1
        return f"{REMOVED if known is None else known}{found[0][len(address) :]}"

    def _markup(self, found: re.Match[str]) -> str:
        autolink = _AUTOLINK.match(found.string, found.end())
        return "<" if autolink is not None and autolink[1] in self._addresses else "&lt;"

    def _find(self, target: str) -> str | None:
        return self._known.get(canonical_url(target) or "")


def _written(url: str) -> str:
    """As it can stand in a Markdown link without ending it."""
    return url.replace("(", "%28").replace(")", "%29")


def _leads_elsewhere(target: str) -> bool:
    return _ELSEWHERE.match(html.unescape(target).strip()) is not None


def _decoded(found: re.Match[str]) -> str:
    # A renderer decodes them, and so makes an address of what looked like none.
    character = html.unescape(found[0])
    return character if character in _IN_ADDRESSES else found[0]
