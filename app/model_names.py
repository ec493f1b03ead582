"""Which model is meant: `provider:model`, or a plain model name, which is one of the provider `openai`."""

import re
from dataclasses import dataclass

OPENAI, AZURE, ANTHROPIC = "openai", "azure", "anthropic"
BUILT_IN = (OPENAI, AZURE, ANTHROPIC)
_PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MODEL = re.compile(r"[^\s,\x00-\x1f\x7f]{1,128}")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model at a provider. Its text is what runs, prices and limits know it by: plain for `openai`."""

    provider: str
    model: str

    def __str__(self) -> str:
        # A name with a colon is read as `provider:model` again.
        return self.model if self.provider == OPENAI and ":" not in self.model else f"{self.provider}:{self.model}"


def parse_model(text: str) -> ModelRef:
    """Raises `ValueError`, which never repeats what was written. Whether there is such a provider is not looked at."""
    provider, colon, model = text.strip().partition(":")
    if not colon:
        provider, model = OPENAI, provider
    if not is_provider_name(provider) or not _MODEL.fullmatch(model):
        raise ValueError("write `model` or `provider:model`; a model with a colon in its name is `openai:name:tag`")
    return ModelRef(provider, model)


def is_provider_name(text: str) -> bool:
    return _PROVIDER.fullmatch(text) is not None
