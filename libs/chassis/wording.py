"""Broken rules of shape in words, where protovalidate would show a regular expression."""

import re
from functools import cache
from typing import Any, Final

_CHARACTERS: Final = {
    "A-Za-z0-9._~-": "letters, digits and . _ ~ -",
    "!-.0-~": "visible ASCII characters but /",
    "!-~": "visible ASCII characters",
    "a-z_": "small letters and _",
    "A-Z_": "capital letters and _",
}
_OTHERS: Final = {
    "^([A-Z]{3})?$": "must be three capital letters, such as USD",
    "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$": "must be a UUID",
    "^[a-z][a-z0-9_]{0,31}$": "must be a small letter and up to 31 small letters, digits and _",
    "^[a-z]+(:[a-z]+)?$": "must be a scope, such as ledger:read",
    "^[A-Za-z0-9._~-]{1,64}(:[A-Za-z0-9._~-]{1,64})?$": (
        "must be 1 to 64 letters, digits and . _ ~ -, or two such names joined by a colon"
    ),
}
_RUN: Final = re.compile(r"\^\(?\[([^\]]+)\]\{([0-9]+),([0-9]+)\}(?:\)\?)?\$")
_DECIMAL: Final = re.compile(
    r"\^\(?(?:-\?)?\[0-9\]\{1,([0-9]+)\}\(\[\.\]\[0-9\]\{1,([0-9]+)\}\)\?(?:\)\?)?\$"
)


def words_of(violation: Any) -> str:
    """What one of protovalidate's violations says, in words: `is required`, `must be 1 to …`."""
    message: str = violation.proto.message
    rule, value = violation.proto.rule_id, violation.field_value
    if rule == "enum.not_in" and value == 0:
        return "is required"
    if rule == "int64.not_in" and value == 0:
        return "must not be 0"
    if rule != "string.pattern":
        return message
    return "is required" if value == "" else pattern_words(violation.rule_value) or message


@cache
def pattern_words(pattern: str) -> str:
    """What a pattern of the protos asks for, in words; empty where it is of no known form."""
    run = _RUN.fullmatch(pattern)
    if run is not None and run[1] in _CHARACTERS:
        return f"must be {max(1, int(run[2]))} to {run[3]} {_CHARACTERS[run[1]]}"
    decimal = _DECIMAL.fullmatch(pattern)
    if decimal is not None:
        return (
            f"must be a decimal number, such as 12.5, with at most {decimal[1]} digits before the "
            f"point and {decimal[2]} after it"
        )
    return _OTHERS.get(pattern, "")
