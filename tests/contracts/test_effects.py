"""The ledger of effects on every store: what is fired, what is replayed, and who may say what became of it."""

from typing import Any

import pytest

from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.effects.errors import (
    EffectInterrupted,
    EffectNotFound,
    EffectNotUncertain,
    EffectRefused,
    EffectResultInvalid,
    EffectUncertain,
    ReceiverBusy,
)
from app.effects.ledger import COLLECTION, INDEXES, EffectLedger
from app.effects.models import Effect, EffectStatus
from app.effects.performer import MOST_RESULT_BYTES
from app.errors import Invalid
from tests.contracts.store_outcomes import Database
from tests.effect_builders import (
    LIFETIME,
    MAIL,
    TASK_ID,
    Receiver,
    a_ledger,
    an_attempt,
    dies_while_firing,
    effects_of,
    the_effect,
)
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(db: Database, clock: FakeClock) -> EffectLedger:
    return a_ledger(Documents(db[COLLECTION]), clock=clock)


async def test_an_effect_is_written_down_before_it_is_fired_and_when_it_is_done(
    ledger: EffectLedger, clock: FakeClock
) -> None:
    seen: list[Effect] = []

    async def fire(key: str) -> Any:
        seen.append(await the_effect(ledger))
        clock.advance(SECOND)
        return {"message_id": "m-1"}

    performed = await an_attempt(ledger).perform("mail", MAIL, fire)

    (before,), after = seen, await the_effect(ledger)
    assert (before.status, before.key, before.firings, before.fired_at) == ("started", performed.key, 1, NOON)
    assert (after.status, after.result, after.finished_at) == ("done", '{"message_id":"m-1"}', NOON + SECOND)
    assert (performed.result, performed.is_replay) == ({"message_id": "m-1"}, False)


async def test_what_is_done_is_replayed_in_a_later_attempt_without_firing(ledger: EffectLedger) -> None:
    receiver = Receiver(deduplicates=False)
    first = await an_attempt(ledger, fence=1).perform("mail", MAIL, receiver.take)

    second = await an_attempt(ledger, fence=2).perform("mail", {**reversed_members(MAIL)}, receiver.take)

    assert (second.key, second.result, second.is_replay) == (first.key, first.result, True)
    assert receiver.happened == 1


def reversed_members(value: dict[str, str]) -> dict[str, str]:
    return dict(reversed(value.items()))


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("page", MAIL, {}),
        ("mail", {**MAIL, "to": "bob@example.com"}, {}),
        ("mail", MAIL, {"step": "reminder"}),
    ],
)
async def test_another_effect_is_fired_of_its_own(
    ledger: EffectLedger, name: str, arguments: Any, options: dict[str, Any]
) -> None:
    receiver, attempt = Receiver(), an_attempt(ledger)
    await attempt.perform("mail", MAIL, receiver.take)

    await attempt.perform(name, arguments, receiver.take, **options)

    assert receiver.happened == 2


async def test_a_step_stands_for_the_effect_whatever_its_arguments_are(ledger: EffectLedger) -> None:
    receiver = Receiver()
    await an_attempt(ledger, fence=1).perform("mail", {"body": "one wording"}, receiver.take, step="welcome")

    again = await an_attempt(ledger, fence=2).perform("mail", {"body": "another"}, receiver.take, step="welcome")

    assert again.is_replay
    assert receiver.happened == 1


async def test_an_effect_of_another_task_or_tenant_is_another_effect(ledger: EffectLedger) -> None:
    receiver = Receiver()
    attempts = [
        an_attempt(ledger),
        an_attempt(ledger, task_id="another-task"),
        an_attempt(ledger, tenant_id=OTHER_TENANT),
    ]

    for attempt in attempts:
        await attempt.perform("mail", MAIL, receiver.take)

    assert receiver.happened == 3


async def test_an_unknown_outcome_is_fired_again_under_the_same_key_when_the_receiver_deduplicates(
    ledger: EffectLedger,
) -> None:
    receiver = Receiver()
    await dies_while_firing(ledger, receiver)

    performed = await an_attempt(ledger, fence=2).perform("mail", MAIL, receiver.take, receiver_deduplicates=True)

    assert receiver.keys == [performed.key, performed.key]
    assert receiver.happened == 1
    assert performed.result == {"message_id": "m-1"}
    effect = await the_effect(ledger)
    assert (effect.status, effect.firings, effect.attempt) == ("done", 2, 2)


async def test_an_unknown_outcome_of_any_other_receiver_waits_for_a_person(ledger: EffectLedger) -> None:
    receiver = Receiver(deduplicates=False)
    await dies_while_firing(ledger, receiver)

    with pytest.raises(EffectUncertain) as raised:
        await an_attempt(ledger, fence=2).perform("mail", MAIL, receiver.take)

    effect = await the_effect(ledger)
    assert not raised.value.retryable
    assert "'mail'" in raised.value.message
    assert f"orchestrate tasks effects {TASK_ID} --resolve {effect.key}" in raised.value.message
    assert (effect.status, receiver.happened) == ("started", 1)


async def test_other_arguments_under_an_uncertain_step_are_never_sent(ledger: EffectLedger) -> None:
    receiver = Receiver()
    await dies_while_firing(ledger, receiver, step="welcome", receiver_deduplicates=True)

    with pytest.raises(EffectUncertain):
        await an_attempt(ledger, fence=2).perform(
            "mail", {"body": "another wording"}, receiver.take, step="welcome", receiver_deduplicates=True
        )

    assert len(receiver.keys) == 1


@pytest.mark.parametrize(("happened", "fired"), [(True, 1), (False, 2)])
async def test_a_person_decides_what_an_uncertain_effect_was(
    ledger: EffectLedger, clock: FakeClock, happened: bool, fired: int
) -> None:
    receiver = Receiver(deduplicates=False)
    await dies_while_firing(ledger, receiver)
    clock.advance(SECOND)

    resolved = await ledger.resolve(TENANT, await the_effect(ledger), happened=happened, by="key-1")
    performed = await an_attempt(ledger, fence=3).perform("mail", MAIL, receiver.take)

    assert (resolved.status, resolved.resolved_by) == ("done" if happened else "failed", "key-1")
    assert resolved.finished_at == NOON + SECOND
    assert len(receiver.keys) == fired
    assert (performed.is_replay, performed.result) == (happened, None if happened else {"message_id": "m-2"})


async def test_a_person_cannot_decide_what_has_moved_on_meanwhile(ledger: EffectLedger) -> None:
    receiver = Receiver()
    await dies_while_firing(ledger, receiver)
    seen = await the_effect(ledger)
    await dies_while_firing(ledger, receiver, fence=2, receiver_deduplicates=True)

    with pytest.raises(EffectNotUncertain):
        await ledger.resolve(TENANT, seen, happened=False, by="key-1")

    assert (await the_effect(ledger)).status is EffectStatus.STARTED


async def test_what_was_refused_may_be_fired_again(ledger: EffectLedger) -> None:
    async def refuse(key: str) -> Any:
        raise EffectRefused("no such address")

    receiver = Receiver(deduplicates=False)
    with pytest.raises(EffectRefused, match="no such address"):
        await an_attempt(ledger, fence=1).perform("mail", MAIL, refuse)
    refused = await the_effect(ledger)

    await an_attempt(ledger, fence=2).perform("mail", MAIL, receiver.take)

    assert refused.status is EffectStatus.FAILED
    assert refused.error is not None
    assert (refused.error.type, refused.error.message) == ("EFFECT_REFUSED", "no such address")
    done = await the_effect(ledger)
    assert (done.status, done.error, done.firings, receiver.happened) == ("done", None, 2, 1)


@pytest.mark.parametrize("refusal", [EffectRefused("no"), ReceiverBusy("not now")], ids=["for good", "for now"])
async def test_a_refused_repetition_says_nothing_about_the_first_time(
    ledger: EffectLedger, refusal: EffectRefused
) -> None:
    async def refuse(key: str) -> Any:
        raise refusal

    await dies_while_firing(ledger, Receiver())

    with pytest.raises(ReceiverBusy if refusal.retryable else EffectUncertain):
        await an_attempt(ledger, fence=2).perform("mail", MAIL, refuse, receiver_deduplicates=True)

    assert (await the_effect(ledger)).status is EffectStatus.STARTED


@pytest.mark.parametrize(("deduplicates", "error"), [(True, EffectInterrupted), (False, EffectUncertain)])
async def test_any_other_failure_leaves_the_effect_in_doubt(
    ledger: EffectLedger, deduplicates: bool, error: type[Exception]
) -> None:
    async def time_out(key: str) -> Any:
        raise TimeoutError

    with pytest.raises(error, match="TimeoutError" if deduplicates else "nobody knows"):
        await an_attempt(ledger).perform("mail", MAIL, time_out, receiver_deduplicates=deduplicates)

    assert (await the_effect(ledger)).status is EffectStatus.STARTED


@pytest.mark.parametrize(
    "result",
    [
        None,
        7,
        2**80,
        "text",
        "\ud800",
        [1, (2, 3)],
        {"$set": {"a.b": 1}, "": None},
        {"_id": "x", "tenant_id": "globex"},
    ],
    ids=repr,
)
async def test_any_json_is_replayed_as_it_was(ledger: EffectLedger, result: Any) -> None:
    async def fire(key: str) -> Any:
        return result

    first = await an_attempt(ledger, fence=1).perform("mail", MAIL, fire)

    second = await an_attempt(ledger, fence=2).perform("mail", MAIL, fire)

    assert second.is_replay
    assert second.result == first.result


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("x" * MOST_RESULT_BYTES, "return at most 16384"),
        ({"at": NOON}, "not plain JSON"),
        (float("nan"), "not plain JSON"),
    ],
    ids=["too large", "no JSON", "no number"],
)
async def test_a_result_that_cannot_be_kept_is_an_error_and_the_effect_is_done(
    ledger: EffectLedger, result: Any, told: str
) -> None:
    fired: list[str] = []

    async def fire(key: str) -> Any:
        fired.append(key)
        return result

    for fence in (1, 2):
        with pytest.raises(EffectResultInvalid, match=f"the effect happened.*{told}"):
            await an_attempt(ledger, fence=fence).perform("mail", MAIL, fire)

    assert len(fired) == 1
    assert (await the_effect(ledger)).status is EffectStatus.DONE


@pytest.mark.parametrize(
    ("name", "arguments", "step"),
    [
        ("", {}, None),
        ("a b", {}, None),
        ("x" * 65, {}, None),
        ("mail", {1, 2}, None),
        ("mail", {}, ""),
        ("m", {}, "x" * 201),
    ],
    ids=repr,
)
async def test_what_cannot_be_named_is_refused_before_anything_happens(
    ledger: EffectLedger, name: str, arguments: Any, step: str | None
) -> None:
    receiver = Receiver()

    with pytest.raises(Invalid):
        await an_attempt(ledger).perform(name, arguments, receiver.take, step=step)

    assert receiver.keys == []


async def test_arguments_are_not_stored(ledger: EffectLedger, db: Database) -> None:
    await an_attempt(ledger).perform("mail", MAIL, Receiver().take)

    (document,) = await db[COLLECTION].find({}).to_list()

    assert "ada@example.com" not in repr(document)
    assert "Hello" not in repr(document)


async def test_another_tenant_finds_and_moves_nothing(ledger: EffectLedger) -> None:
    await dies_while_firing(ledger, Receiver())
    effect = await the_effect(ledger)

    with pytest.raises(EffectNotFound):
        await ledger.get(OTHER_TENANT, TASK_ID, effect.key)
    with pytest.raises(EffectNotUncertain):
        await ledger.resolve(OTHER_TENANT, effect, happened=True, by="key-1")

    assert await effects_of(ledger, tenant_id=OTHER_TENANT) == []
    assert await the_effect(ledger) == effect


async def test_the_ledger_forgets_only_long_after_the_last_change(
    ledger: EffectLedger, clock: FakeClock, db: Database
) -> None:
    await ensure_indexes(db, INDEXES)
    await dies_while_firing(ledger, Receiver())
    clock.advance(SECOND)
    await ledger.resolve(TENANT, await the_effect(ledger), happened=True, by="key-1")

    (document,) = await db[COLLECTION].find({}).to_list()
    expiring = [index for index in (await db[COLLECTION].index_information()).values() if "expireAfterSeconds" in index]

    assert document["expires_at"] == NOON + SECOND + LIFETIME
    assert [(index["key"], index["expireAfterSeconds"]) for index in expiring] == [([("expires_at", 1)], 0)]
