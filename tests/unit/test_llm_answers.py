"""What is made of an answer whose sender says what cannot be."""

import json
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from app.llm.answers import text_of, usage_of
from app.llm.chat import ChatModels, create_pool
from app.llm.messages import Message
from app.llm.prices import Prices
from app.llm.usage import MOST_TOKENS, ModelRole, TokenUsage
from app.settings import load_settings

HALF = "\ud83d"


def claimed(prompt: int, completion: int, total: int, *, cached: int = 0, reasoning: int = 0) -> TokenUsage:
    return usage_of(
        AIMessage(
            "x",
            usage_metadata=UsageMetadata(
                input_tokens=prompt,
                output_tokens=completion,
                total_tokens=total,
                input_token_details=InputTokenDetails(cache_read=cached),
                output_token_details=OutputTokenDetails(reasoning=reasoning),
            ),
        )
    )


def test_tokens_are_never_given_back() -> None:
    assert claimed(-500, -20, -520, cached=-3, reasoning=-1) == TokenUsage()


def test_more_tokens_than_there_can_be_are_no_more_than_a_document_holds() -> None:
    usage = claimed(10**30, 10**30, 10**30)

    assert usage == TokenUsage(MOST_TOKENS, MOST_TOKENS, 2 * MOST_TOKENS)
    assert sum((usage for _ in range(1000)), start=TokenUsage()).total < 2**63


def test_a_total_below_its_parts_is_their_sum() -> None:
    assert claimed(10, 5, 0).total == 15


def test_more_from_the_cache_than_was_asked_still_has_a_price() -> None:
    usage = claimed(1000, 10, 1010, cached=5000, reasoning=50)

    assert usage == TokenUsage(1000, 10, 1010, cached=1000, reasoning=10)
    assert (Prices().estimate("gpt-4o-mini", usage) or 0) > 0


@pytest.mark.parametrize("content", [f"A half {HALF}", HALF], ids=["within", "alone"])
async def test_half_a_character_becomes_text_that_can_be_stored(content: str) -> None:
    chat = ChatModels.from_settings(
        load_settings(_env_file=None, openai_api_key="a-key", openai_base_url="http://models.example.com/v1"),
        http_client=create_pool(httpx2.MockTransport(lambda _: httpx2.Response(200, content=_answer(content)))),
    )

    answer = await chat.complete(ModelRole.CONTENT, [Message("user", "Hello")])
    await chat.aclose()

    assert answer.text == content.replace(HALF, "?")
    assert answer.text.encode()


def test_a_whole_text_stays_as_it_is() -> None:
    assert text_of(AIMessage("Grüße 🌍 ")) == "Grüße 🌍 "


def _answer(content: str) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(whole).encode()
