"""The simulator alone, for a command that works in its own process and finds no model configured."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from app.devstack.notices import Notice
from app.devstack.part import Answers, Part
from app.devstack.ports import free_ports
from app.devstack.probes import LOOPBACK, http_answers
from app.devstack.stack import SIMULATOR, SIMULATOR_KEY
from app.devstack.supervisor import Supervisor
from app.llm.providers import chains_of, models_in
from app.model_names import OPENAI
from app.settings import Settings


def lacks_model(settings: Settings) -> bool:
    """Whether a role's model is OpenAI's and nothing says how to reach it."""
    providers = {model.provider for model in models_in(chains_of(settings))}
    return OPENAI in providers and not settings.model_fields_set & {"openai_api_key", "openai_base_url"}


@asynccontextmanager
async def simulated(settings: Settings, *, logs: Path) -> AsyncIterator[Mapping[str, str]]:
    """Runs the simulator, which logs into an existing folder; what settings have to say to reach it.

    Raises `StartFailed`.
    """
    port = free_ports(1)[0]
    argv = (sys.executable, "-m", "app.llm.simulator", "--port", str(port))
    part = Part(SIMULATOR, argv, Answers(http_answers(port, "/health")), environment=dict(os.environ))
    supervisor = Supervisor([part], logs=logs, notify=_ignore)
    # A proxy must not be asked for our own port.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), LOOPBACK)))
    url = f"http://{LOOPBACK}:{port}"
    known = {"openai_base_url": f"{url}/v1", "openai_api_key": SIMULATOR_KEY}
    if "tavily_api_key" not in settings.model_fields_set:
        known |= {"tavily_base_url": url, "tavily_api_key": SIMULATOR_KEY}
    try:
        await supervisor.start()
        yield known
    finally:
        await supervisor.stop()


def _ignore(_: Notice) -> None:
    return None
