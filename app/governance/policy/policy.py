"""A policy that can decide: its document, with every condition compiled."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cel_expr_python import cel

from app.governance.policy.conditions import Condition, compile_together
from app.governance.policy.models import FactKind, PolicyDocument, Rule

DIGEST = "sha256:"
# Characters of the conditions that are one program; the library takes a hundred thousand.
_MOST_TOGETHER = 40_000


@dataclass(frozen=True, slots=True)
class Guarded:
    """A rule for one kind of subject; without ``condition`` it always applies."""

    rule: Rule
    condition: Condition | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rules in their order, and one program for all of their conditions, if they can be one."""

    rules: tuple[Guarded, ...]
    together: cel.Expression | None
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """``digest`` changes with what the document means, and not with how it is written."""

    document: PolicyDocument
    digest: str
    batches: Mapping[FactKind, tuple[Batch, ...]]

    @property
    def is_scored(self) -> bool:
        """Whether scores can change what it decides."""
        names = {name for batches in self.batches.values() for batch in batches for name in batch.names}
        automatic = self.document.auto_approve
        return (automatic is not None and automatic.is_scored) or any(name.startswith("scores.") for name in names)


def assemble(document: PolicyDocument, rules: Mapping[FactKind, list[Guarded]]) -> Policy:
    batches = {kind: tuple(_batches(guarded, kind)) for kind, guarded in rules.items()}
    return Policy(document, policy_digest(document), batches)


def policy_digest(document: PolicyDocument) -> str:
    # What is not written is left out: a key that a later version brings must not change what older ones mean.
    written = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    canonical = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return f"{DIGEST}{hashlib.sha256(canonical.encode()).hexdigest()}"


def _batches(rules: Iterable[Guarded], kind: FactKind) -> Iterator[Batch]:
    batch: list[Guarded] = []
    length = 0
    for guarded in rules:
        added = len(guarded.condition.source) + 4 if guarded.condition else 8
        if batch and length + added > _MOST_TOGETHER:
            yield _batch(batch, kind)
            batch, length = [], 0
        batch.append(guarded)
        length += added
    if batch:
        yield _batch(batch, kind)


def _batch(rules: list[Guarded], kind: FactKind) -> Batch:
    sources = [one.condition.source if one.condition else "true" for one in rules]
    names = frozenset(name for one in rules if one.condition for name in one.condition.names)
    return Batch(tuple(rules), compile_together(sources, kind), names)
