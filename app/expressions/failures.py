"""Why an expression has no value. The library's own reasons are not told: they hold values."""

import re

_REASONS = {
    "divide by zero": "it divides by zero",
    "modulus by zero": "it divides by zero",
    "overflow": "a number becomes too large",
    "<jump_condition>": "a condition is neither true nor false",
    "teration budget": "it goes through more than 10000 items; use for_each",
    "conversion failed": "a text cannot be converted",
    "cannot convert": "a text cannot be converted",
    "regular expression": "a regular expression is not one",
    "No matching overloads": "an operator or function is used with values of the wrong types",
}
_NOT_THERE = re.compile("Key not found|Applying SELECT|No value with name|Index error|_[?]._")


def reason_of(told: str) -> str:
    """What to say instead of what the library says."""
    if _NOT_THERE.search(told):
        return "a part of it is not there"
    reasons = (reason for sign, reason in _REASONS.items() if sign in told)
    return next(reasons, "it cannot be evaluated with these values")
