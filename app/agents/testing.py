"""For the tests of agents, also of those in other packages: a scripted model, and a run as the product makes it.

::

    from app.agents.testing import ScriptedChat, check_agent, run_agent

    def test_it_answers() -> None:
        chat = ScriptedChat("Bonjour.")

        output = asyncio.run(run_agent(AGENT, "Say hello in French", chat=chat))

        assert output.raw_output == "Bonjour."
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from app.agents.base import AgentOutput, AgentRequest, AgentTools
from app.agents.contracts import check_inputs, check_output
from app.agents.plugins import checked_agent, checked_tool
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.agents.tools.errors import ToolNotAllowed
from app.agents.tools.functions import load_function
from app.agents.tools.models import ToolCall, ToolDescription, ToolResult, ToolSpec
from app.agents.tools.toolbox import LARGEST_EFFECT, LARGEST_RESULT, fitted
from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.search import NoSearch, WebSearch
from app.llm.usage import TokenUsage

USAGE = TokenUsage(prompt=10, completion=5, total=15)


class ScriptedChat:
    """A model that gives these answers in turn: a text, JSON text for a structured call, or an error to raise."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = answers
        self.asked: list[tuple[Asked, tuple[Message, ...]]] = []

    def model_name(self, role: Asked) -> str:
        return f"scripted-{role}"

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,  # noqa: ARG002 - of the protocol
        on_token: OnToken | None = None,
    ) -> Completion:
        text = self._next(role, messages)
        if on_token is not None:
            on_token(text)
        return Completion(text, self.model_name(role), USAGE)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        value = schema.model_validate_json(self._next(role, messages))
        return Structured(value, self.model_name(role), USAGE)

    def _next(self, role: Asked, messages: Sequence[Message]) -> str:
        self.asked.append((role, tuple(messages)))
        if len(self.asked) > len(self._answers):
            raise AssertionError(
                f"the agent asked {len(self.asked)} times; the script has {len(self._answers)} answers"
            )
        answer = self._answers[len(self.asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class ScriptedToolbox:
    """Tools with fixed results: JSON data by name, or an error to raise. Other names are not allowed."""

    results: Mapping[str, Any]
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def names(self) -> Set[str]:
        return self.results.keys()

    async def describe(self) -> Sequence[ToolDescription]:
        return ()

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:  # noqa: ARG002
        if name not in self.results:
            raise ToolNotAllowed(f"the script has no tool {name!r}")
        self.called.append((name, dict(arguments)))
        result = self.results[name]
        if isinstance(result, Exception):
            raise result
        return fitted(name, result, most=LARGEST_RESULT)


async def run_agent(
    spec: AgentSpec,
    text: str,
    *,
    chat: ScriptedChat,
    inputs: Mapping[str, Any] | None = None,
    history: Sequence[Message] = (),
    feedback: str | None = None,
    search: WebSearch | None = None,
    toolbox: ScriptedToolbox | None = None,
) -> AgentOutput:
    """One run, with input and output checked against the spec's models as a worker does.

    Raises what the agent raises, `AgentInputInvalid` and `AgentOutputInvalid`.
    """
    check_inputs(spec, inputs or {})
    request = AgentRequest(
        "task", "session", "tenant", text, feedback=feedback, inputs=inputs or {}, history=tuple(history)
    )
    tools = AgentTools(chat, search or NoSearch(), toolbox=toolbox or ScriptedToolbox({}))
    output = await Registry([spec]).load(spec.name).run(request, tools)
    check_output(spec, output)
    return output


async def call_tool(
    spec: ToolSpec, arguments: Mapping[str, Any], *, tenant_id: str = "tenant", key: str | None = None
) -> ToolResult:
    """One call of a package's tool, with arguments and result checked as in a run; no ledger stands before an effect.

    Raises `Invalid` or `ToolNotUsable` when the product would leave the tool out, and what the tool raises.
    """
    tool = load_function(checked_tool(spec))
    output = await tool.run(tool.check(arguments), ToolCall(tenant_id, "task", key))
    return fitted(spec.name, output, most=LARGEST_EFFECT if tool.is_effect else LARGEST_RESULT)


def check_agent(spec: AgentSpec) -> None:
    """Raises `Invalid` when the product would leave the agent out, or could not build it."""
    Registry([*BUILT_IN, checked_agent(spec)]).load(spec.name)
