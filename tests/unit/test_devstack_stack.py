import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.devstack.part import Part, Says
from app.devstack.stack import Binaries, Plan, Ports, Request, Simulation, Stage, plan_stack
from app.http.server import DRAIN_SECONDS
from app.jobs.heartbeat import longest_renewal
from app.main import STOP_PATIENCE
from app.model_names import ModelRef
from app.settings import ConfigurationError, Settings
from worker.process import CLOSING_PATIENCE, RELEASE_PATIENCE

PORTS = Ports(store=1001, broker=1002, simulator=1003, api=1004)
BINARIES = Binaries(mongod=None, redis_server="/bin/valkey-server")


CLAUDE = (ModelRef("anthropic", "claude-sonnet-5"),)


def plan(
    *,
    environment: dict[str, str] | None = None,
    workers: int = 1,
    concurrency: int | None = None,
    allow_commands: bool = False,
    host: str = "127.0.0.1",
    binaries: Binaries = BINARIES,
    simulation: Simulation | None = None,
    **given: Any,
) -> Plan:
    request = Request(
        settings=Settings.model_construct(_fields_set=set(given), **given),
        environment=environment or {},
        data_dir=Path("/data"),
        folder=Path("/here"),
        host=host,
        workers=workers,
        concurrency=concurrency,
        allow_commands=allow_commands,
        simulation=simulation,
    )
    return plan_stack(request, PORTS, binaries)


def part(of: Plan, name: str) -> Part:
    return next(part for part in of.parts if part.name == name)


def test_without_configuration_everything_is_embedded() -> None:
    made = plan()

    assert [part.name for part in made.parts] == ["store", "broker", "simulator", "worker-1", "api"]
    assert made.embedded == ("store", "broker", "simulator")
    assert made.api_url == "http://127.0.0.1:1004"
    assert made.urls == {
        "MONGO_URI": "mongodb://127.0.0.1:1001/?directConnection=true&retryWrites=false",
        "REDIS_URL": "redis://127.0.0.1:1002/0",
        "OPENAI_BASE_URL": "http://127.0.0.1:1003/v1",
        "OPENAI_API_KEY": "simulator",
        "TAVILY_BASE_URL": "http://127.0.0.1:1003",
        "TAVILY_API_KEY": "simulator",
    }


def test_children_get_the_urls_and_their_own_port() -> None:
    made = plan(environment={"LOG_LEVEL": "DEBUG"}, concurrency=7)

    api = part(made, "api").environment
    assert api.items() >= made.urls.items()
    assert (api["API_HOST"], api["API_PORT"]) == ("127.0.0.1", "1004")
    assert api["DATA_DIR"] == "/data"
    worker = part(made, "worker-1").environment
    assert (worker["WORKER_SLOTS"], worker["LOG_LEVEL"]) == ("7", "DEBUG")
    assert "WORKER_ALLOW_COMMANDS" not in worker


def test_workers_run_programs_of_workflows_when_the_stack_was_started_for_it() -> None:
    made = plan(allow_commands=True)

    assert part(made, "worker-1").environment["WORKER_ALLOW_COMMANDS"] == "true"


@pytest.mark.parametrize(
    ("given", "missing", "unset"),
    [
        ({"mongo_uri": SecretStr("mongodb://db")}, "store", "MONGO_URI"),
        ({"redis_url": SecretStr("redis://cache")}, "broker", "REDIS_URL"),
        ({"openai_api_key": SecretStr("sk-x")}, "simulator", "OPENAI_API_KEY"),
        ({"openai_base_url": "http://gateway"}, "simulator", "OPENAI_BASE_URL"),
        (
            dict.fromkeys(("llm_peer_model", "llm_content_model", "llm_code_model"), CLAUDE),
            "simulator",
            "OPENAI_API_KEY",
        ),
    ],
)
def test_what_is_given_is_used_instead_of_the_embedded_part(given: dict[str, Any], missing: str, unset: str) -> None:
    made = plan(**given)

    assert missing not in made.embedded
    assert unset not in made.urls
    assert missing not in part(made, "api").after


def test_a_key_for_the_search_is_kept_beside_the_simulated_model() -> None:
    made = plan(tavily_api_key=SecretStr("tvly-x"))

    assert "OPENAI_BASE_URL" in made.urls
    assert "TAVILY_BASE_URL" not in made.urls


def test_a_foreign_broker_still_needs_the_embedded_redis_for_wake_ups() -> None:
    made = plan(celery_broker_url=SecretStr("sqs://"))

    assert "broker" in made.embedded
    assert "CELERY_BROKER_URL" not in made.urls


def test_workers_and_api_wait_for_the_stores_and_stop_before_them() -> None:
    made = plan(workers=2, drain_grace_sec=30.0)

    assert part(made, "worker-2").after == part(made, "api").after == {"store", "broker"}
    assert part(made, "worker-2").ready == Says("worker.ready")
    assert [part.stage for part in made.parts] == [0, 0, 0, Stage.WORKERS, Stage.WORKERS, Stage.API]


def test_a_part_is_given_longer_to_stop_than_it_may_take() -> None:
    made = plan(drain_grace_sec=30.0)

    # The heartbeat's thread may be in the middle of a renewal, and gives the registration back in another.
    giving_back = 2 * longest_renewal(timedelta(seconds=Settings.model_fields["heartbeat_sec"].default))
    releasing = timedelta(seconds=2 * RELEASE_PATIENCE + CLOSING_PATIENCE)
    assert part(made, "worker-1").grace > timedelta(seconds=30) + releasing + giving_back
    assert part(made, "api").grace > timedelta(seconds=DRAIN_SECONDS) + 2 * STOP_PATIENCE


def test_a_mongod_of_the_machine_is_preferred_to_the_built_in_store() -> None:
    built_in, real = plan(), plan(binaries=Binaries(mongod="/bin/mongod", redis_server="/bin/redis-server"))

    assert part(built_in, "store").argv[:3] == (sys.executable, "-m", "app.devstack.store")
    assert part(real, "store").argv[0] == "/bin/mongod"
    assert "/data/mongod" in part(real, "store").argv


def test_the_broker_never_evicts_and_keeps_its_log() -> None:
    words = part(plan(), "broker").argv

    assert words[0] == "/bin/valkey-server"
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--bind"] == "127.0.0.1"
    assert options["--maxmemory-policy"] == "noeviction"
    assert (options["--appendonly"], options["--dir"]) == ("yes", "/data/broker")


def test_proxies_are_not_asked_for_the_embedded_parts() -> None:
    api = part(plan(environment={"NO_PROXY": "intranet"}), "api").environment

    assert api["NO_PROXY"] == api["no_proxy"] == "intranet,127.0.0.1,localhost"


ANYWHERE = "0.0.0.0"  # noqa: S104 - planned, not bound


@pytest.mark.parametrize(("host", "url"), [(ANYWHERE, "http://127.0.0.1:1004"), ("::1", "http://[::1]:1004")])
def test_the_url_is_one_that_a_client_here_can_open(host: str, url: str) -> None:
    made = plan(host=host)

    assert made.api_url == url
    assert part(made, "api").environment["API_HOST"] == host


def test_a_scenario_is_handed_on_to_the_simulator() -> None:
    made = plan(simulation=Simulation("flaky", 7))

    assert part(made, "simulator").argv[-4:] == ("--scenario", "flaky", "--seed", "7")
    assert "--scenario" not in part(plan(), "simulator").argv


def test_a_scenario_without_a_simulator_is_refused_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="unset OPENAI_API_KEY"):
        plan(simulation=Simulation("flaky", 7), openai_api_key=SecretStr("a-real-key"))
