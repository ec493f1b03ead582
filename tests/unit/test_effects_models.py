import re
from dataclasses import replace
from uuid import UUID

import pytest

from app.effects.decision import Verdict, decide
from app.effects.errors import EffectsNotAllowed
from app.effects.models import Effect, EffectStatus, Intent, arguments_digest, effect_key
from app.effects.tool import NoEffects
from tests.effect_builders import MAIL, TASK_ID, Receiver
from tests.job_builders import NOON, TENANT

INTENT = Intent(
    key="k",
    tenant_id=TENANT,
    task_id=TASK_ID,
    name="mail",
    step=None,
    digest="d",
    attempt=2,
    fence=2,
    lease="token",
    receiver_deduplicates=False,
)
FOUND = Effect(
    key="k",
    task_id=TASK_ID,
    name="mail",
    step=None,
    digest="d",
    status=EffectStatus.STARTED,
    attempt=1,
    fence=1,
    firings=1,
    started_at=NOON,
    fired_at=NOON,
)


@pytest.mark.parametrize(
    ("status", "fence", "digest", "deduplicates", "verdict"),
    [
        ("done", 1, "d", False, Verdict.REPLAY),
        ("done", 1, "other", True, Verdict.REPLAY),
        ("done", 9, "d", False, Verdict.REPLAY),
        ("failed", 1, "other", False, Verdict.FIRE),
        ("failed", 2, "d", False, Verdict.FIRE),
        ("failed", 3, "d", True, Verdict.STALE),
        ("started", 1, "d", True, Verdict.FIRE_AGAIN),
        ("started", 2, "d", True, Verdict.FIRE_AGAIN),
        ("started", 1, "other", True, Verdict.UNCERTAIN),
        ("started", 1, "d", False, Verdict.UNCERTAIN),
        ("started", 2, "d", False, Verdict.UNCERTAIN),
        ("started", 3, "d", True, Verdict.STALE),
    ],
)
def test_what_may_be_done_follows_from_what_is_known(
    status: str, fence: int, digest: str, deduplicates: bool, verdict: Verdict
) -> None:
    found = replace(FOUND, status=EffectStatus(status), fence=fence, digest=digest)

    assert decide(found, replace(INTENT, receiver_deduplicates=deduplicates)) is verdict


def test_a_key_is_a_uuid_that_tells_nothing_and_is_always_the_same() -> None:
    key = effect_key(TENANT, TASK_ID, "mail", "step ada@example.com")

    assert key == effect_key(TENANT, TASK_ID, "mail", "step ada@example.com")
    assert UUID(key).version == 8
    assert re.fullmatch(r"[0-9a-f-]{36}", key)


def test_keys_differ_in_every_part() -> None:
    parts = [
        ("a", "b", "c", "d"),
        ("x", "b", "c", "d"),
        ("a", "x", "c", "d"),
        ("a", "b", "x", "d"),
        ("a", "b", "c", "x"),
    ]
    shifted = [("a", "b", "cd", ""), ("a", "bc", "", "d"), ("ab", "", "c", "d")]

    assert len({effect_key(*each) for each in [*parts, *shifted]}) == len(parts) + len(shifted)


def test_alike_arguments_are_alike_in_whatever_order_they_are_written() -> None:
    assert arguments_digest({"a": [1, {"b": 2, "c": 3}], "d": "é"}) == arguments_digest(
        {"d": "é", "a": [1, {"c": 3, "b": 2}]}
    )
    assert arguments_digest({"a": [1, 2]}) != arguments_digest({"a": [2, 1]})
    assert arguments_digest({"a": "1"}) != arguments_digest({"a": 1})


async def test_a_run_without_a_ledger_may_not_act() -> None:
    receiver = Receiver()

    with pytest.raises(EffectsNotAllowed, match="'mail'"):
        await NoEffects().perform("mail", MAIL, receiver.take)

    assert receiver.keys == []
