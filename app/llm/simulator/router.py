"""Which of the agents a prompt lists fits a task. Nothing here knows an agent's name: all is read from the prompt."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.llm.languages import language_named_in
from app.llm.simulator.faults import without_directives
from app.llm.simulator.words import VOCABULARY, split_words, stem, stems

_AGENT = re.compile(r"^[-*] (?P<name>[A-Za-z][\w-]*): (?P<text>.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
_NAMED_AFTER_IN = re.compile(r"\b(?:in|using) [A-Za-z+#]+\W*$", re.IGNORECASE)
_THIS_TEXT = re.compile(
    r"\b(?:this|following|given) (?:text|sentence|message|ticket|review|comment|feedback|invoice|transcript|email)\b"
    r"|\btext below\b",
    re.IGNORECASE,
)
_THIS_CODE = re.compile(
    r"\b(?:this|following|given) (?:\S+ )?(?:code|function|script|snippet|class|program|query)\b", re.IGNORECASE
)
_ENOUGH = 1.9
_OWN_WORD = 1.0
_FIRST_NOUN = 4.0
_OPENER = 3.0
_IN_LANGUAGE = 6.0
_GIVEN_MATERIAL = 8.0
_MOST_CANDIDATES = 5
UNKNOWN = "Unknown"
_NOUNS = {"prose", "program"}
_ASKING = {"knowledge", "question"}


@dataclass(frozen=True, slots=True)
class Listed:
    """An agent as the prompt describes it: its words by stem, and the kinds of work they speak of."""

    name: str
    stems: frozenset[str]
    topics: frozenset[str]


@dataclass(frozen=True, slots=True)
class Candidate:
    agent_name: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """``candidates`` are those that fit at all, the best first; it is scored with the confidence."""

    agent_name: str
    confidence: float
    reasoning: str
    candidates: tuple[Candidate, ...] = ()


def choose_agent(prompt: str, task: str, *, earlier: str = "") -> Choice:
    """Deterministic: the same prompt and task always give the same choice.

    A task that says nothing by itself goes on with what was asked ``earlier``, unless it asks for some other deed.
    """
    choice = _choose(prompt, task)
    if choice.agent_name != UNKNOWN or not earlier or _deed(task):
        return choice
    return _choose(prompt, f"{without_directives(earlier)}\n{task}")


def _choose(prompt: str, task: str) -> Choice:
    agents = listed_agents(prompt)
    if not agents:
        return Choice(UNKNOWN, 0.9, "The prompt lists no agent.")
    wanted = _deed(task)
    able = [agent for agent in agents if wanted is None or wanted in agent.stems]
    # A stable sort: of equals the one the prompt lists first.
    scores = sorted(((_score(agent, agents, task), agent) for agent in able), key=lambda pair: -pair[0])
    if not scores or scores[0][0] < _ENOUGH:
        return Choice(UNKNOWN, 0.9, "Simulated routing: none of the listed agents does this kind of task.")
    return _chosen(scores, task)


def listed_agents(prompt: str) -> list[Listed]:
    return [_listed(found["name"], found["text"]) for found in _AGENT.finditer(prompt)]


def _listed(name: str, text: str) -> Listed:
    # A name is too short to speak of kinds of work: an "analyzer" of data does not discuss a subject.
    topics = frozenset(VOCABULARY.topic_of[word] for word in stems(text) if word in VOCABULARY.topic_of)
    if "program" in topics and "prose" not in topics:
        # It explains and reviews the code it is given, and does not discuss a subject either.
        topics -= {"knowledge"}
    return Listed(name, frozenset(stems(f"{name} {text}")), topics)


def _deed(task: str) -> str | None:
    first = _first_word(task)
    # "Turn this Python into Rust" changes nothing in the world.
    return first if first in VOCABULARY.deeds and language_named_in(task) is None else None


def _first_word(task: str) -> str:
    """The stem of the first word that is not mere politeness."""
    return stem(next((word for word in split_words(task) if word not in VOCABULARY.polite), ""))


def _score(agent: Listed, agents: Sequence[Listed], task: str) -> float:
    topics = [VOCABULARY.topic_of[word] for word in map(stem, split_words(task)) if word in VOCABULARY.topic_of]
    score = sum(VOCABULARY.weight_of[topic] * _rarity(topic, agents) for topic in set(topics) & agent.topics)
    own = {word for word in stems(task) if word in agent.stems and word not in VOCABULARY.topic_of}
    score += sum(_OWN_WORD * _word_rarity(word, agents) for word in own)
    return score + sum(bonus for topic, bonus in _bonuses(task, topics) if topic in agent.topics)


def _bonuses(task: str, topics: Sequence[str]) -> Iterator[tuple[str, float]]:
    """What the sentence's shape says: its first noun, how it begins, "in Python"."""
    first_noun = next((topic for topic in topics if topic in _NOUNS), None)
    if _first_word(task) in VOCABULARY.openers:
        yield "knowledge", _OPENER
    elif first_noun:
        yield first_noun, _FIRST_NOUN
    if language_named_in(task) is None and _is_about_a_given_text(task):
        yield "processing", _GIVEN_MATERIAL
    if _THIS_CODE.search(task):
        yield "program", _GIVEN_MATERIAL
    if _NAMED_AFTER_IN.search(task) and language_named_in(task) and not _ASKING & set(topics):
        yield "language", _IN_LANGUAGE


def _is_about_a_given_text(task: str) -> bool:
    return VOCABULARY.topic_of.get(_first_word(task)) == "processing" or _THIS_TEXT.search(task) is not None


def _rarity(topic: str, agents: Iterable[Listed]) -> float:
    return _share(sum(topic in agent.topics for agent in agents))


def _word_rarity(word: str, agents: Iterable[Listed]) -> float:
    return _share(sum(word in agent.stems for agent in agents))


def _share(agents_with_it: int) -> float:
    return 1.0 / max(1, agents_with_it)


def _chosen(scores: Sequence[tuple[float, Listed]], task: str) -> Choice:
    best, agent = scores[0]
    runner_up = scores[1][0] if len(scores) > 1 else 0.0
    confidence = 0.6 + 0.38 * (1 - math.exp(-(best - runner_up) / 3))
    return Choice(
        agent.name,
        round(confidence, 2),
        f"Simulated routing: {agent.name} fits best; {_told(agent, task)}.",
        tuple(
            Candidate(other.name, round(confidence * score / best, 2), _told(other, task))
            for score, other in scores[:_MOST_CANDIDATES]
            if score > 0
        ),
    )


def _told(agent: Listed, task: str) -> str:
    shared = [word for word in dict.fromkeys(split_words(task)) if _speaks_to(word, agent)]
    return f"the task speaks of {', '.join(shared[:5]) or 'its work'}"


def _speaks_to(word: str, agent: Listed) -> bool:
    return word not in VOCABULARY.polite and (
        stem(word) in agent.stems or VOCABULARY.topic_of.get(stem(word)) in agent.topics
    )
