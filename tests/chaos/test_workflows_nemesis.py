"""Faults at random while executions of every shape are begun, signalled and cancelled."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.ids import new_id
from tests.chaos.conftest import StartWorld
from tests.chaos.execution_verdict import check_executions
from tests.chaos.nemesis import (
    Nemesis,
    Strike,
    drain_worker,
    kill_api,
    kill_worker,
    pause_worker,
    restart_broker,
    restart_store,
)
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, fail, sleep, tick
from tests.chaos.workflows import Executions, Json, chain, does, fan_out, workflow

SECONDS = 60
CLIENTS = 3
STRIKES: dict[str, Strike] = {
    "kill worker": kill_worker,
    "pause worker": pause_worker,
    "drain worker": drain_worker,
    "kill api": kill_api,
    "restart broker": restart_broker,
    "restart store": restart_store,
}
# More attempts than a minute of faults can take from one step.
OFTEN = {"max_attempts": 20, "backoff": "fixed", "initial": "100ms"}


def patient(document: Json) -> Json:
    return {**document, "defaults": {"retry": OFTEN}}


KINDS = {
    "links": (patient(chain("links", 15, sleep(0.1), effect("mail"))), 15 * "a"),
    "items": (
        patient(fan_out("items", 30, sleep(0.2), effect("mail"), max_parallel=5)),
        [str(number) for number in range(30)],
    ),
    "timed": (
        patient(
            workflow(
                "timed",
                {
                    "before": does(tick(0.5), answer="a"),
                    "wait": {"wait": {"for": "1s"}, "needs": ["before"]},
                    "after": does(fail(), only_attempts=(1,), answer="b", needs=["wait"]),
                },
                outputs={"said": "${{ steps.after.output.summary }}"},
            )
        ),
        "b",
    ),
    "signalled": (
        patient(
            workflow(
                "signalled",
                {"wait": {"wait": {"event": "go"}}, "after": does(effect("mail"), answer="c", needs=["wait"])},
                outputs={"said": "${{ steps.after.output.summary }}"},
            )
        ),
        "c",
    ),
}


@pytest.mark.chaos
def test_every_promise_about_executions_holds_while_everything_dies_at_random(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=3)
    executions, over = Executions(world.client()), threading.Event()
    for document, _ in KINDS.values():
        executions.store(document)

    def begin_for_ever(number: int) -> None:
        names = random.Random(number)
        while not over.wait(0.3):
            name = names.choice(sorted(KINDS))
            execution_id = executions.begin_stubbornly(name, key=new_id())
            if name == "signalled":
                executions.steer_stubbornly(execution_id, "signal", {"event": "go"}, key=new_id())

    with ThreadPoolExecutor(CLIENTS) as clients:
        load = [clients.submit(begin_for_ever, number) for number in range(CLIENTS)]
        try:
            Nemesis(world, STRIKES).run(seconds=SECONDS)
        finally:
            over.set()
        for one in load:
            one.result(180)
        ended = executions.all_final(patience=120)

    assert len(ended) > SECONDS / 2
    for execution in ended:
        expected = KINDS[execution["workflow"]["name"]][1]
        assert (execution["status"], execution["outputs"]) == ("completed", {"said": expected}), execution
    check_executions(verdict, world, executions)
    world.verify()
