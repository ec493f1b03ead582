"""``python -m app.llm.simulator --port N [--host 127.0.0.1] [--scenario NAME|FILE] [--seed N] …``"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from app.llm.simulator.application import Simulator, build_application
from app.llm.simulator.scenario_files import CALM, ScenarioInvalid, load_scenario
from app.llm.simulator.server import Server, listen

PROJECT_DOCS = Path(__file__).parents[3] / "docs"
_GRACE_SECONDS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        scenario = load_scenario(options.scenario)
    except ScenarioInvalid as error:
        sys.stderr.write(f"simulator: {error.message}\n")
        return 1
    simulator = Simulator(docs=options.docs, latency=options.latency, scenario=scenario, seed=options.seed)
    config = uvicorn.Config(
        build_application(simulator),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        sys.stderr.write(f"simulator: cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    Server(config, on_stop=simulator.waiting.empty).run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.llm.simulator", description="A simulated model provider.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free port and prints it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--docs", type=Path, default=PROJECT_DOCS, help="folder of Markdown files the search covers")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds every call takes")
    parser.add_argument("--scenario", default=CALM, help="name of a built-in scenario, or a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="the same seed and requests have the same faults")
    return parser


if __name__ == "__main__":
    sys.exit(main())
