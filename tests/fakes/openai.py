"""A server of OpenAI's protocol, at Azure's addresses as well, that answers what it is told to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

USAGE = CompletionUsage(
    prompt_tokens=100,
    completion_tokens=20,
    total_tokens=120,
    prompt_tokens_details=PromptTokensDetails(cached_tokens=90),
    completion_tokens_details=CompletionTokensDetails(reasoning_tokens=12),
)


@dataclass
class OpenAiServer:
    """Gives the same answer to every call; ``error`` is a status with the code of the error."""

    text: str = "Good day."
    error: tuple[int, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def application(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._create, methods=["POST"])])

    async def _create(self, request: Request) -> Response:
        self.requests.append(request)
        self.bodies.append(await request.json())
        if self.error is not None:
            status, code = self.error
            error = {"message": "no", "type": "error", "param": None, "code": code}
            return JSONResponse({"error": error}, status, headers=dict(self.headers))
        return Response(self._completion().model_dump_json(), media_type="application/json")

    def _completion(self) -> ChatCompletion:
        message = ChatCompletionMessage(role="assistant", content=self.text)
        choice = Choice(index=0, finish_reason="stop", message=message)
        # Azure answers with the name of what is deployed, whatever the deployment is called.
        return ChatCompletion(
            id="c1", object="chat.completion", created=1, model="gpt-4o-2026", choices=[choice], usage=USAGE
        )
