"""What a file is called when the answer does not say it."""

from app.agents.code.contract import Mode

_PROGRAMS = {
    "bash": "main.sh",
    "c": "main.c",
    "cpp": "main.cpp",
    "csharp": "Program.cs",
    "css": "style.css",
    "dart": "main.dart",
    "dockerfile": "Dockerfile",
    "elixir": "main.ex",
    "go": "main.go",
    "haskell": "Main.hs",
    "html": "index.html",
    "java": "Main.java",
    "javascript": "main.js",
    "json": "data.json",
    "kotlin": "Main.kt",
    "lua": "main.lua",
    "perl": "main.pl",
    "php": "main.php",
    "powershell": "main.ps1",
    "python": "main.py",
    "r": "main.R",
    "ruby": "main.rb",
    "rust": "main.rs",
    "scala": "Main.scala",
    "sql": "query.sql",
    "swift": "main.swift",
    "toml": "data.toml",
    "typescript": "main.ts",
    "yaml": "data.yaml",
}
_TESTS = {
    "csharp": "ProgramTests.cs",
    "go": "main_test.go",
    "java": "MainTest.java",
    "javascript": "main.test.js",
    "python": "test_main.py",
    "ruby": "main_test.rb",
    "typescript": "main.test.ts",
}
# Dialects that need a parser of their own, or have none: the ending tells them apart.
_DIALECTS = {"tsx": "main.tsx", "jsx": "main.jsx", "scss": "style.scss"}
_UNKNOWN = "answer.txt"


def default_name(language: str | None, tag: str, mode: Mode) -> str:
    """For a fence with this tag whose language is known, or not."""
    if tag.lower() in _DIALECTS:
        return _DIALECTS[tag.lower()]
    if mode is Mode.TEST and language in _TESTS:
        return _TESTS[language]
    return _PROGRAMS.get(language or "", _UNKNOWN)
