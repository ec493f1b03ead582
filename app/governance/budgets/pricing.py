"""What a model call may consume at most, before it is made, and what it did consume by the provider's usage: pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from app.governance.budgets.models import Amounts, Unit, counted, plus
from app.llm.messages import Message
from app.llm.usage import TokenUsage

# US dollars of a usage of a model; None where no price is known.
Price = Callable[[str, TokenUsage], float | None]
# What providers add to each message and to a prompt, well above what any of them is known to.
TOKENS_PER_MESSAGE = 16


def most_prompt_tokens(messages: Sequence[Message], schema: type[BaseModel] | None = None) -> int:
    """An upper bound: no tokenizer in use makes more tokens than a text has bytes in UTF-8."""
    texts = [message.content for message in messages]
    if schema is not None:
        texts.append(json.dumps(schema.model_json_schema()))
    return sum(len(text.encode("utf-8", "surrogatepass")) + TOKENS_PER_MESSAGE for text in texts)


def billed(model: str, usage: TokenUsage, price: Price) -> dict[Unit, int]:
    """What the tokens come to; without dollars for a model whose price is not known."""
    usd = price(model, usage)
    tokens: Amounts = {Unit.TOKENS: usage.total}
    return plus(tokens, {} if usd is None else {Unit.USD: counted(Unit.USD, usd)})


def call(model: str, usage: TokenUsage, price: Price) -> dict[Unit, int]:
    """One call and its tokens."""
    return plus({Unit.MODEL_CALLS: 1}, billed(model, usage, price))


def carried(document: Mapping[str, Any], price: Price) -> dict[Unit, int]:
    """What a killed attempt had spent, as `Meter.as_document` has it."""
    spent: dict[Unit, int] = {Unit.MODEL_CALLS: document["calls"]}
    for entry in document["models"]:
        usage = TokenUsage(entry["prompt"], entry["completion"], entry["total"], entry.get("cached", 0))
        spent = plus(spent, billed(entry["model"], usage, price))
    return spent
