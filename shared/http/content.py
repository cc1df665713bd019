"""Checks JSON bodies: valid text, numbers that can be stored, bounded nesting.

Every body is checked once before any route, so that no route has to.
"""

import json
import re
from math import isfinite
from typing import Any, Final

import orjson

from shared.kernel.errors import Invalid
from shared.kernel.text import kept

DEPTH_MAX: Final = 32
"""Levels of a body's nesting: a policy has 6, a mapping of a connector 8."""

DIGITS_MAX: Final = 18
"""Digits of a whole number: what fits 64 bits, in which everything here is stored."""

_LONG_NUMBER: Final = re.compile(rb"[0-9]{%d}" % (DIGITS_MAX + 1))


class TooDeep(Exception):  # noqa: N818 (a kind of input, as `Invalid`)
    """A body that is nested deeper than `DEPTH_MAX`."""


class _TooLong:
    """Placeholder for a whole number with too many digits."""


def look_at(body: bytes) -> None:
    """Raise Invalid with the field of a value that cannot be stored, TooDeep for deep nesting.

    >>> try: look_at(b'{"a": ["x", "\\\\u0000"]}')
    ... except Invalid as wrong: print(wrong)
    a[1]: holds the character U+0000: leave it out
    """
    parsed = _parsed(body)
    waiting: list[tuple[str, Any, int]] = [("", parsed, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, str):
            kept(path or "body", value)
        elif isinstance(value, float) and not isfinite(value):
            raise Invalid(path or "body", "not a finite number")
        elif isinstance(value, _TooLong):
            raise Invalid(path or "body", f"a whole number has at most {DIGITS_MAX} digits")
        elif isinstance(value, (dict, list)):
            if depth >= DEPTH_MAX:
                raise TooDeep
            waiting += _inner(path, value, depth + 1)


def _inner(path: str, value: Any, depth: int) -> list[tuple[str, Any, int]]:
    """Returns the parts of a container, the last one first, ready to push on a stack."""
    if isinstance(value, list):
        found = [(f"{path}[{index}]", inner, depth) for index, inner in enumerate(value)]
    else:
        found = []
        for key, inner in value.items():
            here = f"{path}.{_shown(key)}".lstrip(".")
            kept(here or "body", key)
            found.append((here, inner, depth))
    found.reverse()
    return found


def _parsed(body: bytes) -> Any:
    strict = None
    if not _LONG_NUMBER.search(body):
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            strict = error
    # A lenient parser accepts what the strict one refuses without a field: half characters,
    # numbers. It also shows a key that is there twice.
    try:
        return json.loads(
            body.decode(),
            parse_int=_whole,
            parse_constant=_no_number,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise TooDeep from None
    except UnicodeDecodeError as wrong:
        raise Invalid("body", f"not UTF-8: byte {wrong.start}, {wrong.reason}") from None
    except ValueError as wrong:
        raise Invalid("body", f"not JSON: {strict or wrong}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object; raises Invalid for two equal keys: one would win without a word."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Invalid(_shown(key), "sent twice in one object")
        found[key] = value
    return found


def _whole(digits: str) -> Any:
    return int(digits) if len(digits.lstrip("-")) <= DIGITS_MAX else _TooLong()


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _shown(key: str) -> str:
    """Returns a key that the sender chose, printable and cut."""
    cut = key if len(key) <= 60 else f"{key[:59]}…"  # noqa: PLR2004 (a line of a screen)
    return cut if cut.isprintable() else json.dumps(cut)[1:-1]
