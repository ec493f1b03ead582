"""What each feature measures, from 0 to `FULL`. Of version 1; a change is a new version."""

import functools
from dataclasses import dataclass

from app.governance.budgets.models import Unit
from app.governance.scoring import lexicon
from app.governance.scoring.estimating import estimate
from app.governance.scoring.material import Material, stems_of
from app.governance.scoring.models import FULL, Estimate, ScoringSubject

FEWEST_WORDS = 3
SHORT, LONG = 8 * 1024, 128 * 1024
DEEP = 8
# Where half of the worst is reached.
HALF_USD, HALF_TOKENS, HALF_CALLS, HALF_MS = 10**8, 50_000, 10, 60_000
_MILLISECOND = 1000
MOST_AGENTS = 256


@dataclass(frozen=True)
class Case:
    """A subject, and what is found in it, each thing once."""

    subject: ScoringSubject

    @functools.cached_property
    def material(self) -> Material:
        return Material.of("\n".join([self.subject.text, *self.subject.command]), self.subject.input)

    @functools.cached_property
    def estimate(self) -> Estimate:
        return estimate(self.subject, self.material.size)

    @functools.cached_property
    def stems(self) -> tuple[bytes, ...]:
        return stems_of(self.subject.text)


def vague(case: Case) -> int:
    if not case.subject.needs_agent or case.subject.input:
        return 0
    return FULL * max(FEWEST_WORDS - len(case.stems), 0) // FEWEST_WORDS


def long(case: Case) -> int:
    return FULL * max(min(case.material.size, LONG) - SHORT, 0) // (LONG - SHORT)


def nobody(case: Case) -> int:
    return _whether(case.subject.needs_agent and case.subject.agent is None)


def input_unfit(case: Case) -> int:
    return _whether(not case.subject.input_fits)


def acts_without_tools(case: Case) -> int:
    """It wants something done outside, and who would do it has no tool for that."""
    agent = case.subject.agent
    return _whether(agent is not None and not agent.acting_tools and bool(_found(case, lexicon.ACTING)))


def budget_short(case: Case) -> int:
    """The largest share of an estimate that is beyond its limit."""
    wanted = case.estimate.amounts()
    limits = case.subject.limits.items()
    return max((_beyond(wanted[unit], most) for unit, most in limits if unit in wanted), default=0)


def price_unknown(case: Case) -> int:
    """A model without a known price is not asked within a budget in dollars."""
    return _whether(case.estimate.usd is None and Unit.USD in case.subject.limits)


def deadline_short(case: Case) -> int:
    deadline = case.subject.deadline
    return 0 if deadline is None else _beyond(case.estimate.wall_ms, int(deadline.total_seconds() * _MILLISECOND))


def abilities(case: Case) -> int:
    """Twice the share of the telling words that the agent's description and examples have, too."""
    agent = case.subject.agent
    if not case.subject.needs_agent:
        return FULL
    if agent is None:
        return 0
    if not case.stems:
        return FULL // 2
    known = stems_of_all(agent.abilities)
    return min(2 * FULL * sum(stem in known for stem in case.stems) // len(case.stems), FULL)


def input_fits(case: Case) -> int:
    return _whether(case.subject.input_fits)


def intent(case: Case) -> int:
    wants = bool(lexicon.INTENT & case.material.words) or bool(case.subject.input)
    return _whether(wants or not case.subject.needs_agent)


def agent_named(case: Case) -> int:
    return _whether(case.subject.is_named or not case.subject.needs_agent)


def acting_tools(case: Case) -> int:
    return _many(case.subject.agent.acting_tools if case.subject.agent else 0)


def reading_tools(case: Case) -> int:
    return _many(case.subject.agent.reading_tools if case.subject.agent else 0)


def acting_words(case: Case) -> int:
    return _many(_found(case, lexicon.ACTING))


def destroying_words(case: Case) -> int:
    return _many(_found(case, lexicon.DESTROYING))


def privileged_words(case: Case) -> int:
    return _many(_found(case, lexicon.PRIVILEGED))


def overriding(case: Case) -> int:
    return _whether(case.material.overrides > 0)


def keys(case: Case) -> int:
    return _whether(case.material.keys > 0)


def card_numbers(case: Case) -> int:
    return _whether(case.material.card_numbers > 0)


def addresses(case: Case) -> int:
    return _many(case.material.addresses)


def secrets(case: Case) -> int:
    return _many(case.subject.secrets)


def command(case: Case) -> int:
    return _whether(bool(case.subject.command))


def interpreter(case: Case) -> int:
    """The program runs whatever it is told to; a version behind its name does not matter."""
    if not case.subject.command:
        return 0
    program = case.subject.command[0].encode("utf-8", "surrogatepass").lower().replace(b"\\", b"/")
    name = program.rpartition(b"/")[2].removesuffix(b".exe").rstrip(b"0123456789.")
    return _whether(name in lexicon.INTERPRETERS)


def depth(case: Case) -> int:
    return FULL * min(case.subject.depth, DEEP) // DEEP


def unexamined(case: Case) -> int:
    return _whether(case.material.is_cut)


def usd(case: Case) -> int:
    """What is not known may be anything."""
    wanted = case.estimate.usd
    return FULL if wanted is None else _half_at(HALF_USD, _within(case, Unit.USD, wanted))


def tokens(case: Case) -> int:
    return _half_at(HALF_TOKENS, _within(case, Unit.TOKENS, case.estimate.tokens))


def model_calls(case: Case) -> int:
    return _half_at(HALF_CALLS, _within(case, Unit.MODEL_CALLS, case.estimate.model_calls))


def wall_seconds(case: Case) -> int:
    return _half_at(HALF_MS, _within(case, Unit.WALL_SECONDS, case.estimate.wall_ms))


@functools.lru_cache(maxsize=MOST_AGENTS)
def stems_of_all(text: str) -> frozenset[bytes]:
    """Of an agent's own words, which are few."""
    return frozenset(stem for line in text.splitlines() for stem in stems_of(line))


def _whether(holds: bool) -> int:
    return FULL if holds else 0


def _many(count: int) -> int:
    """A half for one, three quarters for two, and so on."""
    return FULL - (FULL >> min(count, 20))


def _half_at(half: int, amount: int) -> int:
    return FULL * amount // (amount + half)


def _beyond(wanted: int, most: int) -> int:
    return FULL * (wanted - most) // wanted if wanted > most else 0


def _within(case: Case, unit: Unit, wanted: int) -> int:
    """More than its budget nothing can cost."""
    return min(wanted, case.subject.limits.get(unit, wanted))


def _found(case: Case, words: frozenset[bytes]) -> int:
    return len(words & case.material.words)
