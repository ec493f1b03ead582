"""The agents this product has. To add one, add it to `BUILT_IN`. Light on purpose: the API process imports this."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel

from app.agents.code.contract import CodeData, CodeInputs
from app.agents.data_analyzer.contract import DataInput, DataOutput
from app.agents.text_processor.contract import TextInput, TextOutput
from app.jobs.retry import RetryWish
from app.llm.usage import ModelRole


class CostClass(StrEnum):
    """What one task of an agent costs: nothing, a call or two, several calls, or dozens."""

    FREE = "free"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What an agent says of itself; `description` and `examples` are what the router's prompt lists.

    `factory` is `package.module:Class`, imported only by the worker. An agent that is not `routable` runs only when a
    caller names it. `timeout` bounds one run when it should be shorter than the task's; `retry` says what its tasks
    need other than the deployment's retry policy, unless the task itself says. `input_model` and `output_model` type
    what a task hands in as `input` and what comes out as `result.data`; they live in light modules. `tools` are the
    names of the only tools the agent may call. `version` changes when its answers may.
    """

    name: str
    agent_type: str
    description: str
    examples: tuple[str, ...]
    model_role: ModelRole
    factory: str
    routable: bool = True
    timeout: timedelta | None = None
    retry: RetryWish | None = None
    version: str = "1.0.0"
    input_model: type[BaseModel] | None = None
    output_model: type[BaseModel] | None = None
    tools: tuple[str, ...] = ()
    cost_class: CostClass = CostClass.LOW


BUILT_IN: tuple[AgentSpec, ...] = (
    AgentSpec(
        name="ContentAgent",
        agent_type="content",
        description=(
            "Researches a subject on the web and writes text with citations: articles, blog posts, summaries, reports, "
            "explanations, comparisons and answers to general questions about facts, ideas, people and events."
        ),
        examples=(
            "Write a short article about the benefits of renewable energy",
            "Explain how vaccines work",
            "Summarize the history of the Silk Road",
            "What is the difference between weather and climate?",
        ),
        model_role=ModelRole.CONTENT,
        factory="app.agents.content.agent:ContentAgent",
        version="2.0.0",
        cost_class=CostClass.MEDIUM,
    ),
    AgentSpec(
        name="CodeAgent",
        agent_type="code",
        description=(
            "Generates source code in any programming language: functions, classes, scripts, algorithms, queries, API "
            "endpoints and tests; also fixes, refactors, converts, explains and reviews code it is given. It never "
            "runs code."
        ),
        examples=(
            "Implement a Python function that reverses a string",
            "Build an HTTP health endpoint in Go",
            "Fix the bug in this JavaScript loop",
            "SQL query for the ten largest customers",
        ),
        model_role=ModelRole.CODE,
        factory="app.agents.code.agent:CodeAgent",
        version="2.0.0",
        input_model=CodeInputs,
        output_model=CodeData,
    ),
    AgentSpec(
        name="TextProcessorAgent",
        agent_type="text",
        description=(
            "Works on a text that the user gives: its sentiment (positive or negative), a shorter version of the given "
            "text, one of several labels, fields that are extracted from it, or a translation into a human language."
        ),
        examples=(
            "Is this comment positive or negative? The room was clean, but nobody answered the phone.",
            "Classify this ticket as complaint, request or praise: The parcel came a week late.",
            "Extract the name and the amount from this invoice: Ada Lovelace, 20 EUR.",
            "Translate this sentence into French: Good morning.",
        ),
        model_role=ModelRole.TEXT,
        factory="app.agents.text_processor.agent:TextProcessorAgent",
        input_model=TextInput,
        output_model=TextOutput,
    ),
    AgentSpec(
        name="DataAnalyzerAgent",
        agent_type="data",
        description=(
            "Validates, profiles, counts and groups the rows and columns of a table that is handed in as input, with "
            "statistics and charts."
        ),
        examples=(
            "Profile the columns of this table",
            "Group the rows by region and sum the amounts",
            "Validate the rows of the spreadsheet I handed in",
        ),
        model_role=ModelRole.TEXT,
        factory="app.agents.data_analyzer.agent:DataAnalyzerAgent",
        timeout=timedelta(seconds=60),
        input_model=DataInput,
        output_model=DataOutput,
        cost_class=CostClass.FREE,
    ),
    AgentSpec(
        name="EchoAgent",
        agent_type="echo",
        description="Answers with its input, without any model call: for smoke tests, monitoring and benchmarks.",
        examples=("ping",),
        model_role=ModelRole.PEER,
        factory="app.agents.echo:EchoAgent",
        routable=False,
        cost_class=CostClass.FREE,
    ),
)
