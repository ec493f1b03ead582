"""Which parts a stack has, given what is configured: a pure plan."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntEnum
from pathlib import Path

from app.devstack.part import Answers, Part, Says
from app.devstack.probes import LOOPBACK, http_answers, mongo_answers, redis_answers
from app.llm.providers import chains_of, models_in
from app.model_names import OPENAI
from app.settings import ConfigurationError, Settings

STORE, BROKER, SIMULATOR, API = "store", "broker", "simulator", "api"
SIMULATOR_KEY = "simulator"
# After the grace for running jobs a worker hands the rest back and closes; so long when the store is slow.
HAND_OVER = timedelta(seconds=20)
API_GRACE = timedelta(seconds=15)


class Stage(IntEnum):
    """Stopped from the last to the first: no new work, then the running work, then what they stand on."""

    STORES = 0
    WORKERS = 1
    API = 2


@dataclass(frozen=True, slots=True)
class Ports:
    store: int
    broker: int
    simulator: int
    api: int


@dataclass(frozen=True, slots=True)
class Binaries:
    """`mongod` is None where the machine has none; then the built-in wire server stands in."""

    mongod: str | None
    redis_server: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """How the simulator behaves; ``scenario`` is a built-in one's name or the absolute path of a file."""

    scenario: str
    seed: int


@dataclass(frozen=True, slots=True)
class Request:
    """What to start: `environment` is what the children get, before the embedded parts' URLs are added; `folder` is
    where they run, so that they read the same `.env` as the settings did."""

    settings: Settings
    environment: Mapping[str, str]
    data_dir: Path
    folder: Path
    host: str
    workers: int
    concurrency: int | None = None
    allow_commands: bool = False
    simulation: Simulation | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    parts: tuple[Part, ...]
    api_url: str
    urls: Mapping[str, str]

    @property
    def embedded(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts if part.stage == Stage.STORES)


def plan_stack(request: Request, ports: Ports, binaries: Binaries) -> Plan:
    """Whatever the settings were given explicitly is used as it is; the rest is embedded."""
    urls: dict[str, str] = {}
    stores = [
        *_store(request, ports, binaries, urls),
        *_broker(request, ports, binaries, urls),
        *_simulator(request, ports, urls),
    ]
    needed = frozenset(part.name for part in stores) - {SIMULATOR}
    parts = (*stores, *(_worker(request, number, needed) for number in range(1, request.workers + 1)))
    environment = {**request.environment, **urls, **_shared(request)}
    api_url = f"http://{_in_url(reachable(request.host))}:{ports.api}"
    everything = (*parts, _api(request, ports, needed))
    return Plan(tuple(_placed(part, request, environment) for part in everything), api_url, urls)


def _given(request: Request, *names: str) -> bool:
    return any(name in request.settings.model_fields_set for name in names)


def _store(request: Request, ports: Ports, binaries: Binaries, urls: dict[str, str]) -> list[Part]:
    if _given(request, "mongo_uri"):
        return []
    urls["MONGO_URI"] = f"mongodb://{LOOPBACK}:{ports.store}/?directConnection=true&retryWrites=false"
    if binaries.mongod is None:
        argv = _module("app.devstack.store", "--port", str(ports.store), "--data-dir", str(request.data_dir / STORE))
    else:
        folder = str(request.data_dir / "mongod")
        argv = (binaries.mongod, "--port", str(ports.store), "--bind_ip", LOOPBACK, "--dbpath", folder, "--quiet")
    return [Part(STORE, argv, Answers(mongo_answers(ports.store)))]


def _broker(request: Request, ports: Ports, binaries: Binaries, urls: dict[str, str]) -> list[Part]:
    if _given(request, "redis_url"):
        return []
    urls["REDIS_URL"] = f"redis://{LOOPBACK}:{ports.broker}/0"
    options = {
        "--port": str(ports.broker),
        "--bind": LOOPBACK,
        "--save": "",
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
        "--dir": str(request.data_dir / BROKER),
    }
    argv = (binaries.redis_server, *(word for option in options.items() for word in option))
    return [Part(BROKER, argv, Answers(redis_answers(ports.broker)))]


def _simulator(request: Request, ports: Ports, urls: dict[str, str]) -> list[Part]:
    providers = {model.provider for model in models_in(chains_of(request.settings))}
    if OPENAI not in providers or _given(request, "openai_api_key", "openai_base_url"):
        if request.simulation:
            raise ConfigurationError(
                "--scenario is for the simulator, which is not started where a model is configured: "
                "unset OPENAI_API_KEY and OPENAI_BASE_URL"
            )
        return []
    urls["OPENAI_BASE_URL"] = f"http://{LOOPBACK}:{ports.simulator}/v1"
    urls["OPENAI_API_KEY"] = SIMULATOR_KEY
    if not _given(request, "tavily_api_key"):
        urls["TAVILY_BASE_URL"] = f"http://{LOOPBACK}:{ports.simulator}"
        urls["TAVILY_API_KEY"] = SIMULATOR_KEY
    argv = _module("app.llm.simulator", "--port", str(ports.simulator), *_behaviour(request.simulation))
    return [Part(SIMULATOR, argv, Answers(http_answers(ports.simulator, "/health")))]


def _behaviour(simulation: Simulation | None) -> tuple[str, ...]:
    return ("--scenario", simulation.scenario, "--seed", str(simulation.seed)) if simulation else ()


def _worker(request: Request, number: int, needed: frozenset[str]) -> Part:
    return Part(
        f"worker-{number}",
        _module("worker"),
        Says("worker.ready"),
        after=needed,
        stage=Stage.WORKERS,
        grace=timedelta(seconds=request.settings.drain_grace_sec) + HAND_OVER,
    )


def _api(request: Request, ports: Ports, needed: frozenset[str]) -> Part:
    return Part(
        API,
        _module("app.main"),
        Answers(http_answers(ports.api, "/health/ready", reachable(request.host))),
        environment={"API_HOST": request.host, "API_PORT": str(ports.api)},
        after=needed,
        stage=Stage.API,
        grace=API_GRACE,
    )


def _shared(request: Request) -> dict[str, str]:
    slots = {"WORKER_SLOTS": str(request.concurrency)} if request.concurrency else {}
    commands = {"WORKER_ALLOW_COMMANDS": "true"} if request.allow_commands else {}
    # A proxy from the environment must not be asked for our own ports.
    past_proxies = ",".join(filter(None, (request.environment.get("NO_PROXY"), LOOPBACK, "localhost")))
    return {
        **slots,
        **commands,
        "DATA_DIR": str(request.data_dir),
        "NO_PROXY": past_proxies,
        "no_proxy": past_proxies,
    }


def _placed(part: Part, request: Request, environment: Mapping[str, str]) -> Part:
    return replace(part, environment={**environment, **part.environment}, folder=request.folder)


def reachable(host: str) -> str:
    """Where a client on this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)
