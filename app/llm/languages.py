"""Programming languages by the names people and Markdown fences give them."""

import re

# What a fence may say, and what we store.
_BY_TAG = {
    "bash": "bash shell sh zsh console shellscript",
    "c": "c h",
    "cpp": "cpp c++ cc cxx hpp",
    "csharp": "csharp c# cs",
    "css": "css scss",
    "dart": "dart",
    "dockerfile": "dockerfile docker",
    "elixir": "elixir ex exs",
    "go": "go golang",
    "haskell": "haskell hs",
    "html": "html",
    "java": "java",
    "javascript": "javascript js jsx node nodejs node.js mjs",
    "json": "json",
    "kotlin": "kotlin kt",
    "lua": "lua",
    "perl": "perl pl",
    "php": "php",
    "powershell": "powershell ps1 pwsh",
    "python": "python py python3",
    "r": "r",
    "ruby": "ruby rb",
    "rust": "rust rs",
    "scala": "scala",
    "sql": "sql mysql postgresql postgres sqlite plsql",
    "swift": "swift",
    "toml": "toml",
    "typescript": "typescript ts tsx",
    "yaml": "yaml yml",
}
_CANONICAL = {tag: name for name, tags in _BY_TAG.items() for tag in tags.split()}

# Words that are also English, or single letters, count only where a language is clearly meant.
_AMBIGUOUS = {"go", "r", "c", "swift", "rust", "dart", "node", "shell", "docker", "console", "h"}
_TOO_SHORT = {"h", "cc", "cs", "ex", "exs", "hs", "kt", "pl", "rb", "rs", "ts", "py", "sh", "ps1", "cxx", "hpp"}
# A task about JSON is rarely written in JSON: these count when nothing else is named.
_FORMATS = {"json", "toml", "yaml", "yml", "html", "css", "scss", "sql", "dockerfile"}
_CODE_NOUN = (
    "function|program|code|script|snippet|method|class|struct|server|module|package|app|cli|handler|api|version|"
    "implementation|equivalent|tests?"
)


def _any_of(tags: set[str]) -> str:
    return "|".join(re.escape(tag) for tag in sorted(tags, key=lambda tag: (-len(tag), tag)))


_NAMES = _any_of(set(_CANONICAL) - _AMBIGUOUS - _TOO_SHORT - _FORMATS)
_LEFT, _RIGHT = r"(?<![\w+#.-])", r"(?![\w+#]|-\w)"
_PATTERNS = (
    re.compile(rf"\b(?:to|into)\s+({_NAMES}){_RIGHT}", re.IGNORECASE),
    re.compile(rf"\b(?:in|into|to|using|with)\s+(?:idiomatic\s+)?(Go|C|R|Rust|Swift|Dart|Node|[Ss]hell){_RIGHT}"),
    re.compile(rf"{_LEFT}(Go|C|R|Rust|Swift|Dart|Node|[Ss]hell)\s+(?:\w+\s+)?(?:{_CODE_NOUN})\b"),
    re.compile(rf"\b(?:in|using)\s+(?:idiomatic\s+)?({_NAMES}){_RIGHT}", re.IGNORECASE),
    re.compile(rf"{_LEFT}({_NAMES}){_RIGHT}", re.IGNORECASE),
    re.compile(rf"\b(?:in|into)\s+(go|c|r|rust|swift|dart){_RIGHT}\s*(?:[.,;:!?]|please\b|instead\b|$)"),
    # "And Go?" as a whole is about the language; inside a sentence it would not be.
    re.compile(r"^(?i:(?:and|now|then|okay|ok|what about|how about)\s+)*(Go|C|R|Rust|Swift|Dart)[.!?\s]*$"),
    re.compile(rf"{_LEFT}({_any_of(_FORMATS)}){_RIGHT}", re.IGNORECASE),
)


def language_named_in(task: str) -> str | None:
    """The language a request asks for, by its canonical name; `None` when it names none.

    Of "convert this Python to Go" it is the target.
    """
    for pattern in _PATTERNS:
        found = pattern.search(task)
        if found is not None:
            return _CANONICAL[found[1].lower()]
    return None


def language_of_tag(tag: str) -> str | None:
    """The canonical name behind the info string of a Markdown fence, if it is a known one."""
    first = tag.strip().split(maxsplit=1)
    return _CANONICAL.get(first[0].lower().strip("{}.,")) if first else None


def language_of_path(path: str) -> str | None:
    """The canonical name behind the ending of a file's name, or behind such a name as `Dockerfile`."""
    name = path.rpartition("/")[2].lower()
    return _CANONICAL.get(name.rpartition(".")[2])


def is_format(language: str) -> bool:
    """Whether a task that names it may well be about it, and not want to have it."""
    return language in _FORMATS
