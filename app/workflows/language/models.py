"""A workflow document as it is written, field by field; what its parts mean together is checked in `checks`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from app.contracts import Contracts, Identifier
from app.durations import Duration
from app.expressions.lexis import LONGEST_EXPRESSION
from app.governance.approvals.terms import Escalation

MOST_STEPS = 2000
MOST_ITERATIONS = 10_000
LONGEST_TEXT = 100_000

# `steps.ID` is an expression.
StepId = Identifier
WorkflowName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]
EventName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.:-]{0,127}$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
# A CEL expression without `${{ }}` around it.
Expression = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_EXPRESSION)]
# Any JSON value; texts in it may hold `${{ }}`.
Template = Any


def _is_object(value: Any) -> str:
    return "object" if isinstance(value, Mapping | BaseModel) else "word"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class BudgetSpec(Strict):
    """What a run or a step may consume."""

    usd: float | None = Field(None, gt=0, le=10_000, allow_inf_nan=False, description="US dollars by list price.")
    tokens: int | None = Field(None, gt=0, le=10**12, description="Prompt and completion tokens together.")
    model_calls: int | None = Field(None, gt=0, le=10**9, description="Requests to models.")
    wall_clock: Duration | None = Field(None, description="Working time of all steps together.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if all(limit is None for limit in (self.usd, self.tokens, self.model_calls, self.wall_clock)):
            raise ValueError("give at least one of usd, tokens, model_calls and wall_clock")
        return self


RetryClass = Literal["timeout", "rate_limit", "provider", "contract", "worker_lost", "any"]


class RetrySpec(Strict):
    """How often a step is tried, and after which errors."""

    max_attempts: int = Field(3, ge=1, le=100, description="The first one included.")
    backoff: Literal["exponential", "fixed"] = "exponential"
    initial: Duration = Field(
        timedelta(seconds=1), description="Pause before the second attempt.", json_schema_extra={"default": "1s"}
    )
    maximum: Duration = Field(
        timedelta(seconds=60), description="The longest pause.", json_schema_extra={"default": "60s"}
    )
    jitter: Literal["full", "none"] = "full"
    on: list[RetryClass] = Field(["timeout", "rate_limit", "provider"], min_length=1, max_length=6)


class Defaults(Strict):
    """What steps have that do not say otherwise."""

    timeout: Duration | None = Field(None, description="Of each attempt.")
    retry: RetrySpec | None = None


class Fallback(Strict):
    """The output of a step that failed."""

    fallback: Template


class ApprovalSpec(Strict):
    """Waits for people; no worker is held."""

    approvers: list[str] = Field(
        default_factory=list, max_length=100, description="Names, groups or roles; empty: anyone."
    )
    quorum: int = Field(1, ge=1, le=100, description="How many have to approve.")
    self_approval: bool = Field(False, description="Whether the key that started the execution may decide.")
    escalation: Escalation | None = None
    expires_in: Duration | None = None
    on_expiry: Literal["reject", "approve", "fail"] = "reject"
    form: Contracts = Field(default_factory=dict, description="Fields that approvers fill in.")
    message: str = Field("", max_length=LONGEST_TEXT, description="What is to be approved; may hold `${{ }}`.")


class EvaluateSpec(Strict):
    """Evaluates the output of a step before others may use it."""

    step: StepId = Field(description="Whose output it is; one of `needs`.")
    checks: list[dict[str, Any]] = Field(default_factory=list, max_length=20)
    rubric: dict[str, Any] | None = None
    threshold: float | None = Field(None, ge=0, le=1)
    on_fail: Literal["fail", "flag", "retry"] = "fail"
    max_rounds: int = Field(1, ge=1, le=3, description="With `retry`: how often the step is asked again.")


class WaitSpec(Strict):
    """A durable timer, or an event from outside."""

    for_: Duration | None = Field(None, alias="for")
    until: Template | None = Field(None, description="A point in time: ISO 8601 text or an expression that gives one.")
    event: EventName | None = None
    key: str | None = Field(
        None, max_length=LONGEST_TEXT, description="With `event`: the correlation key; may hold `${{ }}`."
    )
    timeout: Duration | None = Field(None, description="With `event`: how long to wait for it.")

    @model_validator(mode="after")
    def _waits_for_one_thing(self) -> Self:
        if sum(one is not None for one in (self.for_, self.until, self.event)) != 1:
            raise ValueError("give exactly one of for, until and event")
        if self.event is None and (self.key is not None or self.timeout is not None):
            raise ValueError("key and timeout belong to event")
        return self


class ExhaustedOutput(Strict):
    """What the loop comes to when it was never true."""

    output: dict[Identifier, Template]


class LoopSpec(Strict):
    """Runs its steps again until the expression is true; it always ends."""

    until: Expression = Field(description="Sees the outputs of the iteration.")
    max_iterations: int = Field(ge=1, le=MOST_ITERATIONS)
    on_exhausted: Annotated[
        Annotated[Literal["fail", "continue"], Tag("word")] | Annotated[ExhaustedOutput, Tag("object")],
        Discriminator(_is_object),
    ] = Field("fail", description="`continue`: with the output of the last iteration; or an output of its own.")


KINDS = (
    "agent",
    "task",
    "workflow",
    "approval",
    "evaluate",
    "command",
    "transform",
    "wait",
    "emit",
    "loop",
    "switch",
    "steps",
)


class Step(Strict):
    """One step: exactly one kind, and modifiers. `for_each` runs the kind once per item."""

    # kinds
    agent: str | None = Field(None, min_length=1, max_length=64, description="A registered agent, by name or type.")
    task: str | None = Field(None, min_length=1, max_length=LONGEST_TEXT, description="A task in natural language.")
    workflow: str | None = Field(None, min_length=1, max_length=300, description="A sub-workflow, by name or file.")
    approval: ApprovalSpec | None = Field(None, description="Waits for people.")
    evaluate: EvaluateSpec | None = Field(None, description="Evaluates the output of a step.")
    command: list[str] | None = Field(None, min_length=1, max_length=200, description="A program and its arguments.")
    transform: dict[Identifier, Template] | None = Field(None, min_length=1, description="Values, computed.")
    wait: WaitSpec | None = Field(None, description="A timer, or an event from outside.")
    emit: EventName | None = Field(None, description="Publishes an event with the values of `with`.")
    loop: LoopSpec | None = Field(None, description="Runs `steps` again and again.")
    switch: Expression | None = Field(None, description="Runs the case for its value.")
    steps: "dict[StepId, Step] | None" = Field(
        None, min_length=1, max_length=MOST_STEPS, description="A group, or the body of `loop`."
    )
    # what belongs to kinds
    cases: "dict[str, Case] | None" = Field(None, min_length=1, max_length=100, description="Of `switch`, by value.")
    else_: "Case | None" = Field(None, alias="else", description="Of `switch`: for any other value.")
    # repetition
    for_each: str | None = Field(None, max_length=LONGEST_EXPRESSION, description="`${{ a list }}`; once per item.")
    as_: Identifier | None = Field(None, alias="as", description="What expressions call the item beside `item`.")
    max_parallel: int | None = Field(None, ge=1, le=10_000, description="Items at a time; default: all.")
    on_item_error: Literal["fail", "continue", "collect"] | None = Field(
        None, description="`collect`: each item gives `ok`, `output` and `error`. Default: `fail`."
    )
    # modifiers
    needs: list[StepId] = Field(default_factory=list, max_length=MOST_STEPS, description="Steps that end before.")
    if_: Expression | None = Field(None, alias="if", description="The step is skipped when it is false.")
    with_: dict[Identifier, Template] = Field(default_factory=dict, alias="with", description="What it is given.")
    output: Contracts | None = Field(None, description="What its output must have.")
    timeout: Duration | None = Field(None, description="Of each attempt.")
    retry: RetrySpec | None = None
    budget: BudgetSpec | None = None
    env: dict[str, str] = Field(default_factory=dict, max_length=100, description="Of `command`.")
    secrets: list[SecretName] = Field(default_factory=list, max_length=50, description="Names only.")
    on_error: Annotated[
        Annotated[Literal["fail", "continue"], Tag("word")] | Annotated[Fallback, Tag("object")],
        Discriminator(_is_object),
    ] = Field("fail", description="`continue`: those that need it go on without its output, or with a fallback.")
    idempotency_key: str | None = Field(
        None, max_length=LONGEST_TEXT, description="Told to what it calls; may hold `${{ }}`."
    )
    artifacts: dict[Identifier, Template] = Field(default_factory=dict, description="Files or values that are kept.")
    description: str = Field("", max_length=LONGEST_TEXT)

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        kinds = self.kinds
        # A loop's body is beside it.
        if kinds not in ({kind} for kind in KINDS if kind != "loop") and kinds != {"loop", "steps"}:
            found = f"this one has {', '.join(sorted(kinds))}" if kinds else "this one has none"
            raise ValueError(f"a step has exactly one kind ({', '.join(KINDS)}); {found}")
        return self

    @property
    def kinds(self) -> set[str]:
        return {kind for kind in KINDS if getattr(self, kind) is not None}

    @property
    def kind(self) -> str:
        return "loop" if self.loop is not None else next(iter(self.kinds))


class Case(Strict):
    """What a `switch` does for one value."""

    steps: dict[StepId, Step] = Field(min_length=1, max_length=MOST_STEPS)


class Workflow(Strict):
    """A whole document."""

    version: Literal[1]
    name: WorkflowName
    description: str = Field("", max_length=LONGEST_TEXT)
    inputs: Contracts = Field(default_factory=dict, description="What a run is given.")
    additional_inputs: bool = Field(False, description="Inputs that are not declared are let through, and not seen.")
    vars: dict[Identifier, Template] = Field(default_factory=dict, description="Values with a name, computed in order.")
    budget: BudgetSpec | None = Field(None, description="Of a whole run.")
    defaults: Defaults = Field(default_factory=Defaults)
    steps: dict[StepId, Step] = Field(
        min_length=1, max_length=MOST_STEPS, description="By id; they run in parallel, except for `needs`."
    )
    outputs: dict[Identifier, Template] = Field(default_factory=dict, description="What a run gives.")
    finally_: dict[StepId, Step] = Field(
        default_factory=dict, alias="finally", max_length=MOST_STEPS, description="Steps that always run, at the end."
    )

    def bodies(self) -> Mapping[str, Mapping[str, Step]]:
        return {"steps": self.steps, "finally": self.finally_}
