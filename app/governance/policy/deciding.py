"""What a policy decides about facts. Pure: no store, no clock, no chance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cel_expr_python import cel

from app.expressions.failures import reason_of
from app.governance.approvals.terms import ApprovalTerms
from app.governance.policy.facts import Facts
from app.governance.policy.models import AutoApproval, Effect, Mode
from app.governance.policy.policy import Batch, Guarded, Policy

_LIST = cel.Type.List(cel.Type.DYN)
# By threshold: what it is of, and whether that has to be below it.
_THRESHOLDS: Mapping[str, tuple[str, bool]] = {
    "risk_below": ("scores.risk", True),
    "cost_below": ("scores.cost", True),
    "feasibility_above": ("scores.feasibility", False),
    "alignment_above": ("scores.alignment", False),
    "spend_usd_below": ("spend.usd", True),
}
_STRICTEST_FIRST = (Effect.DENY, Effect.REQUIRE_APPROVAL, Effect.ALLOW)


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is None where the default holds; ``approval`` says on which terms one is needed.

    ``reasons`` are sentences without their full stops and hold no values of facts but scores.
    """

    effect: Effect
    rule: str | None
    reasons: tuple[str, ...]
    approval: ApprovalTerms | None = None
    policy_digest: str | None = None

    @property
    def told(self) -> str:
        return "; ".join(self.reasons)


# Where there is no policy.
ALLOWED = Decision(Effect.ALLOW, None, ("there is no policy",))


@dataclass(frozen=True, slots=True)
class _Match:
    """A rule that applies, or whose condition could not be evaluated: ``unclear`` says why."""

    guarded: Guarded
    unclear: str | None = None

    @property
    def effect(self) -> Effect:
        return self.guarded.rule.decide if self.unclear is None else Effect.DENY

    @property
    def reason(self) -> str:
        rule = self.guarded.rule
        if self.unclear is not None:
            return f"the condition of rule {rule.name!r} cannot be evaluated, so it denies: {self.unclear}"
        return rule.reason or f"rule {rule.name!r} applies"


def decide(policy: Policy, facts: Facts) -> Decision:
    """What cannot be evaluated denies."""
    matches = _matches(policy, facts)
    if policy.document.mode is Mode.FIRST_MATCH:
        first = next(matches, None)
        return _decided(policy, facts, [first] if first else [])
    found = list(matches)
    strictest = next((effect for effect in _STRICTEST_FIRST if any(one.effect is effect for one in found)), None)
    return _decided(policy, facts, [one for one in found if one.effect is strictest])


def _decided(policy: Policy, facts: Facts, matches: list[_Match]) -> Decision:
    """By the first of rules that all decide the same."""
    document, digest = policy.document, policy.digest
    if not matches:
        default = document.default
        terms = document.approval if default is Effect.REQUIRE_APPROVAL else None
        unruled = Decision(default, None, (f"no rule applies, and the default is {default}",), terms, digest)
        return _with_auto_approval(unruled, document.auto_approve, facts)
    first, effect = matches[0].guarded.rule, matches[0].effect
    reasons = tuple(match.reason for match in matches)
    if effect is not Effect.REQUIRE_APPROVAL:
        return Decision(effect, first.name, reasons, None, digest)
    # Automatically only when no rule among them insists on people.
    by_itself = document.auto_approve if all(match.guarded.rule.auto_approve for match in matches) else None
    decision = Decision(effect, first.name, reasons, first.approval or document.approval, digest)
    return _with_auto_approval(decision, by_itself, facts)


def _with_auto_approval(decision: Decision, thresholds: AutoApproval | None, facts: Facts) -> Decision:
    if decision.effect is not Effect.REQUIRE_APPROVAL or thresholds is None:
        return decision
    told = []
    for name, (fact, is_upper) in _THRESHOLDS.items():
        limit = getattr(thresholds, name)
        if limit is None:
            continue
        value = facts.values.get(fact)
        if value is None or not (value < limit if is_upper else value > limit):
            return decision
        told.append(f"{fact.partition('.')[2]} {value:.4g} is {'below' if is_upper else 'above'} {limit:.4g}")
    reason = f"approved automatically: {' and '.join(told)}"
    return replace(decision, effect=Effect.ALLOW, approval=None, reasons=(*decision.reasons, reason))


def _matches(policy: Policy, facts: Facts) -> Iterator[_Match]:
    for batch in policy.batches.get(facts.kind, ()):
        data = {name: facts.values[name] for name in batch.names if name in facts.values}
        together = _together(batch, data)
        if together is None:
            yield from _one_by_one(batch, data)
        elif True in together:
            yield from (_Match(guarded) for guarded, holds in zip(batch.rules, together, strict=True) if holds)


def _one_by_one(batch: Batch, data: Mapping[str, Any]) -> Iterator[_Match]:
    for guarded in batch.rules:
        holds = _answer(guarded, data)
        if isinstance(holds, str):
            yield _Match(guarded, holds)
        elif holds:
            yield _Match(guarded)


def _together(batch: Batch, data: Mapping[str, Any]) -> list[bool] | None:
    """Whether each condition holds, all at once; None when one has no value, which must not spoil the others."""
    if batch.together is None:
        return None
    try:
        result = batch.together.eval(data=data)
        values = result.plain_value() if result.type() == _LIST else None
    except (RuntimeError, TypeError):
        return None
    return values if values is not None and all(type(value) is bool for value in values) else None


def _answer(guarded: Guarded, data: Mapping[str, Any]) -> bool | str:
    """A text says why it cannot be known."""
    if guarded.condition is None:
        return True
    if missing := sorted(guarded.condition.names - data.keys()):
        unknown = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not known"
    else:
        unknown = ""
    try:
        result = guarded.condition.program.eval(data=data)
    except (RuntimeError, TypeError) as error:
        return unknown or reason_of(str(error))
    if result.type() == cel.Type.BOOL:
        return bool(result.value())
    if result.type() in (cel.Type.ERROR, cel.Type.UNKNOWN):
        return unknown or reason_of(str(result.value()))
    return "it gives neither true nor false"
