"""What goes wrong in a scenario: rules, each for some calls, with a chance, in bursts, and so many times."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.llm.simulator.chance import Latency, Seconds
from app.llm.simulator.conversation import Kind
from app.llm.simulator.faults import Behaviour

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Status = Annotated[int, Field(ge=400, le=599)]
# A day: far beyond any test, and still a number a clock can be compared with.
LongSeconds = Annotated[float, Field(ge=0, le=86_400)]
_RATE_LIMITED = 429
_WAITING = (_RATE_LIMITED, 503)
_BREAKING_OFF = (Behaviour.DROP, Behaviour.STALL)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Asked(_Part):
    """What a rule may look at in a call; ``tokens`` are those of its prompt."""

    role: Kind
    model: str
    streaming: bool
    tokens: int
    is_corrected: bool


class Match(_Part):
    """Which calls; what is not named does not matter, except that web searches must be named."""

    roles: Annotated[tuple[Kind, ...], Field(min_length=1)] | None = Field(
        None, description=f"Any of {', '.join(Kind)}. Default: all but search."
    )
    models: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)] | None = Field(
        None, description="Names of models, with * and ?."
    )
    streaming: bool | None = Field(None, description="Only streamed answers, or only those that are not.")
    corrected: bool | None = Field(
        None, description="Only prompts that say why an earlier answer was refused, or only those that do not."
    )
    tokens_over: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Only prompts of more tokens; a token is four characters."
    )

    def covers(self, asked: Asked) -> bool:
        return (
            self._covers_role(asked.role)
            and (self.models is None or any(fnmatchcase(asked.model, pattern) for pattern in self.models))
            and self.streaming in {None, asked.streaming}
            and self.corrected in {None, asked.is_corrected}
            and (self.tokens_over is None or asked.tokens > self.tokens_over)
        )

    def _covers_role(self, role: Kind) -> bool:
        return role != Kind.SEARCH if self.roles is None else role in self.roles


class Burst(_Part):
    """When, in seconds since the scenario began."""

    start: LongSeconds = Field(0.0, description="Begin of the first.")
    duration: Annotated[LongSeconds, Field(gt=0)] = Field(description="Length of each.")
    period: Annotated[LongSeconds, Field(gt=0)] | None = Field(
        None, description="From begin to begin. Default: there is only one."
    )

    @model_validator(mode="after")
    def _has_gaps(self) -> Self:
        if self.period is not None and self.period <= self.duration:
            raise ValueError("period must be longer than duration")
        return self

    def is_on(self, elapsed: float) -> bool:
        since = elapsed - self.start
        return 0 <= (since if self.period is None or since < 0 else since % self.period) < self.duration


class Effect(_Part):
    """What happens to a call. ``error`` and ``answer`` exclude each other; ``latency`` may come with both."""

    latency: Latency | None = Field(None, description="How long the caller waits for the first byte.")
    pace: Seconds = Field(0.0, description="Seconds after each piece of a streamed answer.")
    error: Status | Literal["quota", "context"] | None = Field(
        None, description="HTTP status from 400 to 599, `quota` (429) or `context` (400, context_length_exceeded)."
    )
    retry_after: Seconds | None = Field(
        None, description="Seconds, in Retry-After and with 429 in x-ratelimit-reset-requests. For 429 and 503."
    )
    reset_after: Seconds | None = Field(None, description="Seconds, in x-ratelimit-reset-requests only. For 429.")
    answer: Behaviour | None = Field(None, description=f"One of {', '.join(Behaviour)}; see below.")
    after: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Share of the answer that comes before a drop or a stall. Default: half."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not (self.fails or self.latency or self.pace):
            raise ValueError("say what happens: latency, pace, error or answer")
        if self.error is not None and self.answer is not None:
            raise ValueError("a call has an error or an answer, not both")
        if self.retry_after is not None and self.error not in _WAITING:
            raise ValueError("retry_after belongs to error 429 or 503")
        if self.reset_after is not None and self.error != _RATE_LIMITED:
            raise ValueError("reset_after belongs to error 429")
        if self.after is not None and self.answer not in _BREAKING_OFF:
            raise ValueError("after belongs to answer drop or stall")
        return self

    @property
    def fails(self) -> bool:
        return self.error is not None or self.answer is not None


class Rule(_Part):
    """Each is decided by itself; of several that make the same call fail, the first one does."""

    name: Name = Field(description="Lower-case letters, digits and hyphens; once in the scenario.")
    match: Match = Field(Match(), description="Which calls. Default: all of models.")
    probability: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Chance that it shows in such a call.")
    burst: Burst | None = Field(None, description="When. Default: always.")
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="Most times it shows.")
    limit_per_prompt: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Most times it shows to the same prompt, corrections left out."
    )
    then: Effect = Field(description="What happens.")


class Scenario(_Part):
    """What goes wrong."""

    name: Name = Field(description="Lower-case letters, digits and hyphens.")
    description: Annotated[str, Field(min_length=1, max_length=400)] = Field(description="What goes wrong, for people.")
    rules: Annotated[tuple[Rule, ...], Field(max_length=50)] = Field((), description="At most 50.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [rule.name for rule in self.rules]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two rules are named {twice!r}")
        return self
