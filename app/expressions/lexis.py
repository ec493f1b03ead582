"""What expressions are written with. In a string, a comment or a quoted name braces and words mean nothing."""

# Strings with prefix `r` know no escapes; both kinds may go over lines in three quotes. For `re.VERBOSE`.
QUOTED = r"""
    (?:[rR][bB]?|[bB][rR])(?:\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"[^"\n]*"|'[^'\n]*')
    |\"{3}(?:\\[\s\S]|[^\\])*?\"{3}|'{3}(?:\\[\s\S]|[^\\])*?'{3}
    |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'
    |//[^\n]*
    |`[^`\n]*`
"""
# In characters.
LONGEST_EXPRESSION = 2000
WORD = "[A-Za-z_][A-Za-z0-9_]*"
