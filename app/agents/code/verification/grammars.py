"""The languages that tree-sitter reads, and what it says of a source. Only the process that may die of it runs this."""

import importlib

from tree_sitter import Language, Node, Parser

from app.agents.code.verification.verdicts import SyntaxProblem, excerpt_of

# Module and function of each grammar.
_GRAMMARS = {
    "bash": ("tree_sitter_bash", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "css": ("tree_sitter_css", "language"),
    "go": ("tree_sitter_go", "language"),
    "html": ("tree_sitter_html", "language"),
    "java": ("tree_sitter_java", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "php_only": ("tree_sitter_php", "language_php_only"),
    "ruby": ("tree_sitter_ruby", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}


def load_all() -> None:
    """So that forks need not. Raises `ImportError` when one is not installed."""
    for module, _ in _GRAMMARS.values():
        importlib.import_module(module)


def problem_in(source: str, grammar: str) -> SyntaxProblem | None:
    """The first place that the grammar cannot make sense of. Raises `KeyError` for an unknown grammar."""
    module, function = _GRAMMARS[grammar]
    language = Language(getattr(importlib.import_module(module), function)())
    data = source.encode(errors="replace")
    root = Parser(language).parse(data).root_node
    return _problem(_first_error(root), data) if root.has_error else None


def _first_error(root: Node) -> Node:
    """The innermost one: outer errors begin long before what is wrong."""
    node = root
    while True:
        inner = next((child for child in node.children if child.has_error or child.is_missing), None)
        if inner is None:
            return node
        node = inner


def _problem(node: Node, data: bytes) -> SyntaxProblem:
    message = f"missing {node.type}" if node.is_missing else "syntax error"
    line = data.split(b"\n", node.start_point.row + 1)[node.start_point.row]
    # tree-sitter counts bytes.
    column = len(line[: node.start_point.column].decode(errors="replace")) + 1
    row = node.start_point.row + 1
    return SyntaxProblem(message, row, column, excerpt_of(line.decode(errors="replace"), 1))
