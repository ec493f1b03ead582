"""Whether a request goes on with what was said before it. Light: the API process imports it."""

import re

_MOST_WORDS = 12
_POLITE = r"(?:(?:please|can you|could you|would you|great|thanks|thank you|perfect|nice|good|ok|okay)\b[\s,.!]*)*"
_GOES_ON = r"and|now|then|also|but|next|same|again|instead|what about|how about|the same|one more|another"
# "Explain it", "add tests for this", "translate that into Rust"; but not "write code that sorts".
_ACTS_ON_IT = (
    r"\w+ (?:(?!an?\b)[\w-]+ ){0,3}?(?:it|this|them|these|those)\b|"
    r"\w+ that(?: (?:to|into|in|as|with|again)\b|\W*$)"
)
_BEGINNING = re.compile(rf"{_POLITE}(?:(?:{_GOES_ON})\b|(?:{_ACTS_ON_IT}))", re.IGNORECASE)
_ONLY_A_LANGUAGE = re.compile(
    rf"{_POLITE}(?:(?:in|as|to|into|with|using) )?(?:the )?[\w+#.]+(?: version)?\W*", re.IGNORECASE
)


def is_follow_up(text: str) -> bool:
    """True for a short request that cannot be understood alone: "and now in Go", "explain it", "with tests, please"."""
    flat = " ".join(text.split())
    if "```" in text or not flat or len(flat.split(" ")) > _MOST_WORDS:
        return False
    return bool(_BEGINNING.match(flat) or _ONLY_A_LANGUAGE.fullmatch(flat))
