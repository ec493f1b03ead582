"""Words as the simulator compares them: lower case, cut to a stem, without the ones that say nothing."""

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

_WORD = re.compile(r"[^\W_]+(?:[+#]+|(?:'\w+)?)", re.UNICODE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SUFFIXES = re.compile(
    r"(?<=\w{3})(?:ization|isation|ations|ation|ings|edly|ions|ment|ness|ing|ers|ies|ied|ion|ed|er|es|ly|s|e|y)$"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Topics, deeds and openers are kept by stem; `polite` and `reserved` hold whole words."""

    polite: frozenset[str]
    stop: frozenset[str]
    deeds: frozenset[str]
    openers: frozenset[str]
    reserved: frozenset[str]
    topic_of: dict[str, str]
    weight_of: dict[str, float]


def split_words(text: str) -> list[str]:
    """Every word in order, lower-cased; `ContentAgent` is two."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def stem(word: str) -> str:
    """A crude English stem: enough to see that `writing` and `writes` speak of the same."""
    return _SUFFIXES.sub("", word, count=1)


def stems(text: str) -> list[str]:
    return [stem(word) for word in split_words(text) if word not in VOCABULARY.stop and len(word) > 1]


def _load() -> Vocabulary:
    written = tomllib.loads(files(__package__).joinpath("vocabulary.toml").read_text("utf-8"))
    topics = written["topics"]
    return Vocabulary(
        polite=frozenset(written["polite"].split()),
        stop=frozenset(written["stop"].split()),
        deeds=frozenset(stem(word) for word in written["deeds"].split()),
        openers=frozenset(stem(word) for word in written["openers"].split()),
        reserved=frozenset(written["reserved"].split()),
        topic_of={stem(word): name for name, topic in topics.items() for word in topic["words"].split()},
        weight_of={name: topic["weight"] for name, topic in topics.items()},
    )


VOCABULARY = _load()
