"""Router and agents over real sockets: langchain-openai and tavily-python against a simulator process."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from app.agents.base import AgentOutput, AgentRequest
from app.agents.code.contract import CodeData, Mode, Severity
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.routing import UnknownTaskType
from app.errors import ExecutionError
from app.llm.chat import ChatModels
from app.llm.errors import LlmRateLimited, LlmTimeout
from app.llm.messages import Message
from app.llm.search import WebSearch
from app.llm.tavily import web_search
from app.settings import load_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    with started("--docs", "/nonexistent") as process:
        yield address_of(process)
        process.terminate()
        assert process.wait(timeout=10) == 0


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "app.llm.simulator", "--port", "0", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rsplit(maxsplit=1)[-1]


@dataclass
class Bench:
    """Routes a task and runs the agent it is routed to, as the worker does."""

    peer: PeerAgent
    registry: Registry
    chat: ChatModels
    search: WebSearch
    meter: Meter

    async def run(
        self, text: str, *, history: tuple[Message, ...] = (), inputs: Mapping[str, object] | None = None
    ) -> AgentOutput:
        request = AgentRequest("t", "s", "default", text, inputs=inputs or {}, history=history)
        tools = self.meter.tools(self.chat, self.search)
        route = await self.peer.route(request, tools)
        return await self.registry.load(route.agent_name).run(request, tools)


@asynccontextmanager
async def a_bench(address: str, *, timeout: float = 10.0) -> AsyncIterator[Bench]:
    settings = load_settings(
        _env_file=None,
        openai_api_key="simulated",
        openai_base_url=f"{address}/v1",
        tavily_api_key="simulated",
        tavily_base_url=address,
        llm_timeout_sec=timeout,
    )
    registry = Registry()
    chat, search = ChatModels.from_settings(settings), web_search(settings)
    try:
        yield Bench(PeerAgent(registry, minimum_confidence=0.5), registry, chat, search, Meter())
    finally:
        await chat.aclose()
        await search.aclose()


async def test_a_content_task_ends_with_citations(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        output = await bench.run("Write a short article about the benefits of renewable energy")

    assert output.citations[0].source == "docs.example.com"
    assert "[1]" in output.raw_output
    assert output.summary.startswith("Renewable energy")
    assert output.tools_used == bench.meter.tools_used == ("web_search",)


async def test_a_content_task_is_planned_written_and_checked(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        output = await bench.run("Compare quantum computing with remote work.")

    assert len(output.citations) > 1
    assert output.notes == ()
    # The router's call is the first of them.
    assert bench.meter.calls == 4


async def test_a_code_task_ends_with_its_language(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        output = await bench.run("Write a Go function to reverse a string")

    assert output.code_language == "go"
    assert "```go" in output.raw_output


@pytest.mark.parametrize(
    ("named", "language"),
    [
        ("Go", "go"),
        ("JavaScript", "javascript"),
        ("TypeScript", "typescript"),
        ("Java", "java"),
        ("Rust", "rust"),
        ("Bash", "bash"),
        ("SQL", "sql"),
    ],
)
async def test_a_follow_up_gives_the_same_function_in_another_language(
    simulator: str, named: str, language: str
) -> None:
    asked = "Write a Python function that computes the factorial"
    async with a_bench(simulator) as bench:
        first = await bench.run(asked)
        said = (Message("user", asked), Message("assistant", first.raw_output))
        second = await bench.run(f"and now in {named}", history=said)

    assert (first.code_language, second.code_language) == ("python", language)
    assert "factorial" in first.files[0].content.lower()
    assert "factorial" in second.files[0].content.lower()
    for output in (first, second):
        data = CodeData.model_validate(output.data)
        assert [one.ok for one in data.verified] == [True]
        assert (data.mode, data.repair_rounds) == (Mode.GENERATE, 0)
        assert output.notes == ()


async def test_tests_are_written_in_the_language_of_the_follow_up(simulator: str) -> None:
    said = (
        Message("user", "Write a Python function that reverses a string"),
        Message("assistant", "```python\nx\n```"),
    )
    async with a_bench(simulator) as bench:
        output = await bench.run("now write unit tests for it in Go", history=said)

    assert CodeData.model_validate(output.data).mode is Mode.TEST
    assert output.files[0].path == "main_test.go"


async def test_code_is_reviewed_line_by_line(simulator: str) -> None:
    inputs = {"files": [{"path": "src/db.py", "content": "def run(text):\n    return eval(text)\n"}]}
    async with a_bench(simulator) as bench:
        output = await bench.run("Review this Python code", inputs=inputs)

    (finding,) = CodeData.model_validate(output.data).findings or []
    assert (finding.file, finding.line, finding.severity) == ("src/db.py", 2, Severity.CRITICAL)


async def test_code_is_explained_without_a_new_version(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        code = {"code": "def twice(x):\n    return 2 * x\n"}
        request = AgentRequest("t", "s", "default", "Explain this Python function", inputs=code)
        output = await bench.registry.load("CodeAgent").run(request, bench.meter.tools(bench.chat, bench.search))

    assert "`twice`" in output.raw_output
    assert output.files == ()


async def test_every_call_is_counted_and_priced(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        await bench.run("Write a Python function to reverse a string")

    assert bench.meter.models == ("gpt-4o-mini",)
    assert bench.meter.usage.total == bench.meter.usage.prompt + bench.meter.usage.completion > 100
    assert bench.meter.usd > 0


async def test_a_task_nobody_takes_is_unknown_and_its_routing_is_counted(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        with pytest.raises(UnknownTaskType, match="ContentAgent, CodeAgent"):
            await bench.run("Book me a flight to Paris")

    assert bench.meter.usage.total > 0


async def test_a_rate_limit_carries_the_providers_wait(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        with pytest.raises(LlmRateLimited) as caught:
            await bench.run("Write about coffee [[sim error=429 retry_after=3 role=writer]]")

    assert caught.value.retry_after == timedelta(seconds=3)
    assert caught.value.retryable


async def test_a_provider_that_hangs_ends_in_a_timeout(simulator: str) -> None:
    async with a_bench(simulator, timeout=0.5) as bench:
        with pytest.raises(LlmTimeout):
            await bench.run("Write about coffee [[sim hang]]")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("malformed", "LLM_ERROR"),
        ("empty", "AGENT_OUTPUT_INVALID"),
        ("refuse", "AGENT_OUTPUT_INVALID"),
        ("length", "AGENT_OUTPUT_INVALID"),
        ("schema", "AGENT_OUTPUT_INVALID"),
        ("schema role=writer", "AGENT_OUTPUT_INVALID"),
        ("schema role=planner", "AGENT_OUTPUT_INVALID"),
        ("schema role=checker", "AGENT_OUTPUT_INVALID"),
        ("length role=writer", "AGENT_OUTPUT_INVALID"),
        ("error=500 role=search", "SEARCH_ERROR"),
        ("error=401", "LLM_AUTH"),
    ],
)
async def test_each_wrong_answer_has_its_code(simulator: str, fault: str, code: str) -> None:
    async with a_bench(simulator) as bench:
        with pytest.raises(ExecutionError) as caught:
            await bench.run(f"Write about coffee [[sim {fault}]]")

    assert caught.value.code == code


async def test_a_flaky_provider_is_better_at_the_next_attempt(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        task = "Write about coffee [[sim flaky=1 role=router]]"
        with pytest.raises(ExecutionError):
            await bench.run(task)

        assert (await bench.run(task)).citations


async def test_a_cancelled_run_stops_at_once_and_is_counted(simulator: str) -> None:
    async with a_bench(simulator) as bench:
        run = asyncio.create_task(bench.run("Write about coffee [[sim hang]]"))
        await has_waiting_calls(simulator)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await has_waiting_calls(simulator, count=0)

    assert bench.meter.models == ("gpt-4o-mini",)


async def test_a_stopping_simulator_lets_waiting_callers_go() -> None:
    with started() as process:
        address = address_of(process)
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": "[[sim hang]]"}]}
            call = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            await has_waiting_calls(address)
            process.send_signal(signal.SIGTERM)
            answer = await call
        status = await asyncio.to_thread(process.wait, 10)

    assert (answer.status_code, status) == (503, 0)


def test_a_taken_port_is_said_in_one_line() -> None:
    with started() as process:
        port = address_of(process).rsplit(":", 1)[1]
        command = [sys.executable, "-m", "app.llm.simulator", "--port", port]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        process.terminate()

    assert second.returncode == 1
    assert "cannot listen" in second.stderr


async def has_waiting_calls(address: str, *, count: int = 1) -> None:
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=address) as client:
        while (await client.get("/_sim/requests")).json()["waiting"] != count:
            pass
