"""What goes into a model call and what comes out, free of any provider's types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from app.llm.usage import ModelRole, TokenUsage
from app.model_names import ModelRef

M = TypeVar("M", bound=BaseModel)
# Is handed each piece of an answer as it comes, and an empty one when an answer begins. It must return at once.
OnToken = Callable[[str], None]
# Whom a call is for: whatever serves a role, or this one model and no other.
Asked = ModelRole | ModelRef


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


CORRECTION = "Your previous answer was refused: "


def correction(problem: str) -> Message:
    """The last message to a model whose last answer could not be used."""
    return Message("user", f"{CORRECTION}{problem.rstrip('.')}. Answer again and correct that.")


@dataclass(frozen=True, slots=True)
class Completion:
    """`model` is the one that was asked."""

    text: str
    model: str
    usage: TokenUsage

    def as_json(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Structured(Generic[M]):
    value: M
    model: str
    usage: TokenUsage

    def as_json(self) -> dict[str, Any]:
        return self.value.model_dump(mode="json")


class Answer(Protocol):
    """What every kind of answer tells: itself, which model gave it and what that consumed."""

    @property
    def model(self) -> str: ...
    @property
    def usage(self) -> TokenUsage: ...
    def as_json(self) -> str | dict[str, Any]: ...


A = TypeVar("A", bound=Answer)


class Chat(Protocol):
    """A way to ask the configured models: the clients themselves, or a facade that meters them.

    A facade hands on whom it was asked for. `app.llm.fallback` stands in front of all of them and turns a role into
    calls for one model each, so that every facade sees every single call to a provider.
    """

    def model_name(self, role: Asked) -> str:
        """The model that is asked, as runs and prices name it."""
        ...

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        """Never a blank, refused or cut-off text: those raise `AgentOutputInvalid`.

        With ``on_token`` the provider streams, and what was handed over may still turn out to be unusable.
        """
        ...

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        """An answer that validates against `schema`, or `AgentOutputInvalid`."""
        ...
