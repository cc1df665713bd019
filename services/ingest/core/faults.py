"""Builds faults: the path of the offending value and a reason, both of bounded length.

A fault quotes at most a bounded piece of the input: a dead letter already carries all of it.
"""

import json
import re
from math import isfinite
from typing import Any, TypeVar

import msgspec

from shared.contracts.events import id_fault
from shared.kernel.errors import UNREADABLE, Invalid

S = TypeVar("S", bound=str | None)
T = TypeVar("T")

FIELD_CHARS_MAX = 200
"""Characters of a path; our own have at most 40, longer ones come from names the sender chose."""

REASON_CHARS_MAX = 400
"""Characters of a reason: two lines on a screen."""

KEY_CHARS_MAX = 60
"""Characters shown of one key that the sender chose."""

WHOLE = "value"
"""The field name of a fault that concerns the record's value as a whole."""

_MSGSPEC = re.compile(r"^(?P<reason>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.+)`$")

DECIMAL = (
    'send a decimal number as a string, such as "12.50", with at most 15 digits before the point '
    "and 9 after it"
)

_MENDS = {
    "amount": DECIMAL,
    "cost": DECIMAL,
    "currency": 'send an ISO 4217 code, such as "USD"',
    "language": 'send a BCP 47 tag, such as "zh-CN"',
    "time": 'send RFC 3339 with an offset, such as "2026-03-01T08:30:00Z"',
}


def fault(field: str, reason: str) -> Invalid:
    """Returns an `Invalid` with its texts cut to their bounds.

    >>> fault("data.amount", "x" * 1000).reason[-3:]
    'xx…'
    """
    return Invalid(_cut(field, FIELD_CHARS_MAX), _cut(reason, REASON_CHARS_MAX))


def from_msgspec(error: msgspec.ValidationError, root: str = "") -> Invalid:
    """Converts the fault that msgspec found, with its path below `root`.

    >>> try: msgspec.convert({"a": ["x"]}, dict[str, list[int]])
    ... except msgspec.ValidationError as error: print(from_msgspec(error, "data"))
    data[...][0]: Expected `int`, got `str`
    """
    found = _MSGSPEC.match(str(error))
    if found is None:
        raise AssertionError("the pattern matches any text")
    reason, path = found["reason"], found["path"] or ""
    if missing := _MISSING.match(reason):
        path, reason = f"{path}.{missing['name']}", "missing"
    leaf = path.rpartition(".")[2]
    if leaf in _MENDS:
        # The pattern itself does not help to mend an upstream system.
        said = "malformed" if "matching regex" in reason else reason
        reason = f"{said}; {_MENDS[leaf]}"
    return fault((root + path).lstrip(".") or WHOLE, reason)


def decoded(decoder: msgspec.json.Decoder[T], value: bytes, field: str, what: str = "JSON") -> T:
    """Returns what a decoder reads; raises Invalid with the path of what does not fit.

    >>> try: decoded(msgspec.json.Decoder(list[int]), b"[1", "body", "a JSON array")
    ... except Invalid as wrong: print(wrong)
    body: not a JSON array: Input data was truncated
    """
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise from_msgspec(error, field) from error
    except UNREADABLE as error:
        raise fault(field, f"not {what}: {error}") from error


def short(field: str, text: S) -> S:
    """Returns an id that is short enough, in bytes, for an index, or None; Invalid otherwise."""
    if text is not None and (why := id_fault(text)) is not None:
        raise fault(field, why)
    return text


def key_path(path: str, key: str) -> str:
    """Returns `path` extended by a key that the sender chose, printable and cut.

    >>> key_path("data", "a\\x00b")
    'data.a\\\\u0000b'
    """
    shown = key if key.isprintable() else json.dumps(key)[1:-1]
    return f"{path}.{_cut(shown, KEY_CHARS_MAX)}".lstrip(".")


def index_path(path: str, index: int) -> str:
    """Returns `path` extended by an index: `data.items[3]`."""
    return f"{path}[{index}]"


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it was sent: pairs in order, duplicates kept."""


def find(value: Any, path: str = "") -> Invalid | None:
    """Returns the first duplicate key, NUL character or non-finite number of leniently parsed JSON.

    Objects are `Pairs`. Recursive: the caller bounds the depth or handles RecursionError.
    """
    if isinstance(value, Pairs):
        seen: set[str] = set()
        for key, inner in value:
            here = key_path(path, key)
            if key in seen:
                return fault(here, "sent twice in one object")
            if "\0" in key:
                return fault(here, "a NUL character cannot be stored")
            seen.add(key)
            if problem := find(inner, here):
                return problem
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if problem := find(inner, index_path(path, index)):
                return problem
    elif isinstance(value, str) and "\0" in value:
        return fault(path or WHOLE, "a NUL character cannot be stored")
    elif isinstance(value, float) and not isfinite(value):
        return fault(path or WHOLE, "not a finite number")
    return None


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
