"""Texts as they are compared: alike whatever their case, spaces, width and unseen characters are."""

import unicodedata

from app.agents.content.characters import visible

# These shape words in some scripts, and take any other word apart unseen.
_JOINERS = str.maketrans("", "", "\u200c\u200d")


def comparable(text: str) -> str:
    folded = unicodedata.normalize("NFKC", visible(text)).translate(_JOINERS).casefold()
    return " ".join(folded.split())
