"""What a provider's answer says: its text, its usage, and whether it can be used at all."""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.llm.errors import AgentOutputInvalid, ModelRefused
from app.llm.messages import M
from app.llm.provider_errors import Call, context_too_long, cut_off
from app.llm.usage import NO_USAGE, TokenUsage

MOST_PROBLEMS = 5
LONGEST_PROBLEMS = 500
LONGEST_NAME = 40
# OpenAI's `finish_reason` and Anthropic's `stop_reason`.
REFUSED = {"content_filter", "refusal"}
TOO_LONG = {"length", "max_tokens"}
CONTEXT_FULL = "model_context_window_exceeded"


def text_of(answer: AIMessage) -> str:
    """Half of a surrogate pair, which a provider's JSON may hold and nothing here can store, becomes a `?`."""
    return str(answer.text).encode(errors="replace").decode()


def usage_of(answer: AIMessage) -> TokenUsage:
    reported = answer.usage_metadata
    if reported is None:
        return NO_USAGE
    read: Mapping[str, Any] = reported.get("input_token_details") or {}
    said: Mapping[str, Any] = reported.get("output_token_details") or {}
    return TokenUsage.reported(
        reported["input_tokens"],
        reported["output_tokens"],
        reported["total_tokens"],
        cached=read.get("cache_read") or 0,
        cache_written=_cache_written(read),
        reasoning=said.get("reasoning") or 0,
    )


def refuse_unusable(answer: AIMessage, call: Call) -> None:
    """Raises for an answer that is a refusal, is cut off or says nothing."""
    usage, said = usage_of(answer), answer.response_metadata
    finish = said.get("finish_reason") or said.get("stop_reason")
    if answer.additional_kwargs.get("refusal") or finish in REFUSED:
        raise ModelRefused("the model refused the task", usage=usage, model=call.name)
    if finish in TOO_LONG:
        raise cut_off(call, usage)
    if finish == CONTEXT_FULL:
        raise context_too_long(call, usage)
    if not text_of(answer).strip() and not answer.tool_calls:
        raise AgentOutputInvalid("the model answered with nothing", usage=usage, model=call.name)


def parsed(answer: AIMessage, schema: type[M], call: Call) -> M:
    """Raises `AgentOutputInvalid`, with the usage, for another shape."""
    # Anthropic's older models give a shape as the arguments of a tool.
    said = json.dumps(answer.tool_calls[0]["args"]) if answer.tool_calls else text_of(answer)
    try:
        return schema.model_validate_json(said)
    except ValidationError as error:
        raise AgentOutputInvalid(
            f"the model's answer is not a {schema.__name__}: {_problems(error)}",
            usage=usage_of(answer),
            model=call.name,
        ) from error


def _cache_written(read: Mapping[str, Any]) -> int:
    by_lifetime = (read.get("ephemeral_5m_input_tokens") or 0) + (read.get("ephemeral_1h_input_tokens") or 0)
    return by_lifetime or read.get("cache_creation") or 0


def _problems(error: ValidationError) -> str:
    """Which fields are wrong and why, for people and for the model's next attempt; never what it wrote in them."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = "; ".join(_problem(one) for one in found[:MOST_PROBLEMS])
    return (
        f"{told[:LONGEST_PROBLEMS]}{f'; and {len(found) - MOST_PROBLEMS} more' if len(found) > MOST_PROBLEMS else ''}"
    )


def _problem(one: ErrorDetails) -> str:
    where = ".".join(str(part)[:LONGEST_NAME] for part in one["loc"]) or "answer"
    # The message of a wrong tag quotes it.
    return f"{where}: {one['type'] if one['type'] == 'union_tag_invalid' else one['msg']}"
