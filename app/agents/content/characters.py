"""Characters that a reader cannot see, which can carry text to a model or turn a link around."""

import re
import unicodedata

# Joiners shape words in Persian and several Indian scripts, and emoji.
_JOINERS = "\u200c\u200d"
_LAYOUT = "\n\t"
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0e\U000e0100-\U000e01ef]")
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})


def visible(text: str) -> str:
    """Without control, format, private and unassigned characters and the selectors that can hide bytes."""
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(one for one in text.replace("\r\n", "\n") if one in _LAYOUT or _is_visible(one))
    return _VARIATION_SELECTORS.sub("", shown)


def _is_visible(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _INVISIBLE
