"""What the models of one attempt were asked, for its evidence."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Asked, Chat, Message
from app.observability.redaction import Redactor


class Transcript:
    """The prompts of an attempt, without the configured secrets: their digest, and a file if there is to be one."""

    def __init__(self, redactor: Redactor, path: Path | None = None) -> None:
        self._redactor = redactor
        self._path = path
        self._digest = hashlib.sha256()
        self._has_text = False

    @property
    def sha256(self) -> str | None:
        """Of what the file holds; None as long as no model was asked."""
        return self._digest.hexdigest() if self._has_text else None

    def note(self, role: Asked, messages: Sequence[Message]) -> None:
        parts = [f"=== {role}", *(f"--- {one.role}\n{one.content}" for one in messages)]
        data = self._redactor.masked("\n".join(parts) + "\n").encode("utf-8", "surrogatepass")
        self._digest.update(data)
        if self._path is not None:
            # What an attempt before this one asked is of no more use.
            with self._path.open("ab" if self._has_text else "wb") as file:
                file.write(data)
        self._has_text = True


class TranscribedChat(ChatFacade):
    """The same models; every prompt is noted before they are asked."""

    def __init__(self, chat: Chat, transcript: Transcript) -> None:
        super().__init__(chat)
        self._transcript = transcript

    async def _ask(self, question: Question[A]) -> A:
        self._transcript.note(question.role, question.messages)
        return await super()._ask(question)
