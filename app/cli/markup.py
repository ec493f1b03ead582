"""An answer on a terminal: Markdown or code, with what it means made visible."""

from rich.markdown import Markdown
from rich.syntax import Syntax


def shown(body: str, language: object) -> Syntax | Markdown:
    """``language`` is that of an answer that is code and nothing else."""
    if language and "```" not in body:
        return Syntax(body, str(language), background_color="default", word_wrap=True)
    return Markdown(body, code_theme="ansi_dark")
