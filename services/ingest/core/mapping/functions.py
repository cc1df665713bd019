"""The named functions of mappings, beside those of JMESPath.

Each returns null for a null first argument, so that a missing field stays missing; what is there
and cannot be used is Refused with what to do. Amounts are decimal texts, times are RFC 3339 texts.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from services.ingest.core.mapping import moments, money
from services.ingest.core.mapping.scope import TEXT_CHARS_MAX, Mistake, Refused, Scope
from shared.kernel.errors import Invalid
from shared.kernel.zones import zone

DIGEST_BYTES: Final = 15
"""Bytes of a digest: 24 characters of Base32; no two contents of a history collide."""

PARTS_MAX: Final = 1_000
"""Parts that `split` returns."""

WHOLE_MAX: Final = 2**53
"""A float above this may stand for several whole numbers, and so is no id."""


INTEGER_MAX: Final = 10**40
"""From here on a whole number is no id."""


def text_of(value: Any) -> str | None:
    """Returns a text, or a whole number as text; null for null; Refused for anything else.

    >>> text_of(820982911946154508), text_of(7.0), text_of(None)
    ('820982911946154508', '7', None)
    """
    if isinstance(value, str) or value is None:
        return value
    if type(value) is int and -INTEGER_MAX < value < INTEGER_MAX:
        return str(value)
    if isinstance(value, bool):
        raise Refused(f"{str(value).lower()} is no text")
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_MAX:
        return str(int(value))
    raise Refused(f"{shown(value)} is neither a text nor a whole number")


def shown(value: Any) -> str:
    """Returns a value as it appears in a reason, cut to 60 characters."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    written = repr(value) if isinstance(value, str | float) else str(value)
    return written if len(written) <= 60 else f"{written[:59]}…"  # noqa: PLR2004 (half a line)


def _bounded(text: str) -> str:
    if len(text) > TEXT_CHARS_MAX:
        raise Refused(f"the text has {len(text):,} characters, at most {TEXT_CHARS_MAX:,}")
    return text


def coalesce(_: Scope, *values: Any) -> Any:
    """`coalesce(a, …)`: the first that is neither null nor a blank text; compiled in place."""
    raise NotImplementedError


def concat(_: Scope, *values: Any) -> str | None:
    """`concat(a, …)`: texts and whole numbers joined; null where one of them is null."""
    joined = ""
    for value in values:
        part = value if isinstance(value, str) else text_of(value)
        if part is None:
            return None
        joined += part
    return joined if len(joined) <= TEXT_CHARS_MAX else _bounded(joined)


def text(_: Scope, value: Any) -> str | None:
    """`text(a)`: a whole number as text."""
    return text_of(value)


def lower(_: Scope, value: Any) -> str | None:
    """`lower(a)`: in small letters."""
    found = text_of(value)
    return None if found is None else found.lower()


def upper(_: Scope, value: Any) -> str | None:
    """`upper(a)`: in capitals."""
    found = text_of(value)
    return None if found is None else found.upper()


def trim(_: Scope, value: Any) -> str | None:
    """`trim(a)`: without blanks around it."""
    found = text_of(value)
    return None if found is None else found.strip()


def split(scope: Scope, value: Any, separator: Any) -> list[str] | None:
    """`split(a, ',')`: the parts of a text, without blanks around them."""
    found, mark = text_of(value), text_of(separator)
    if found is None or not mark:
        return None
    parts = [part.strip() for part in found.split(mark, PARTS_MAX)[:PARTS_MAX]]
    scope.visit(len(parts))
    return parts


def replace(_: Scope, value: Any, old: Any, new: Any) -> str | None:
    """`replace(a, 'x', 'y')`: each x replaced by y."""
    found, before, after = text_of(value), text_of(old), text_of(new)
    if found is None or not before:
        return found
    if len(found) > TEXT_CHARS_MAX or len(after or "") > TEXT_CHARS_MAX:
        raise Refused(f"replace() takes at most {TEXT_CHARS_MAX:,} characters")
    return _bounded(found.replace(before, after or ""))


def lookup(_: Scope, value: Any, table: Any, otherwise: Any = None) -> Any:
    """`lookup(a, `{"x": 1}`, default)`: what the table has under a."""
    if not isinstance(table, dict):
        raise Refused("lookup() needs an object as its second argument")
    found = text_of(value)
    return otherwise if found is None else table.get(found, otherwise)


def digest(_: Scope, *values: Any) -> str:
    """`digest(a, …)`: an id made of these values, for records without one."""
    try:
        said = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise Refused("digest() cannot read these values: they are nested too deep") from error
    made = blake2b(said, digest_size=DIGEST_BYTES).digest()
    return base64.b32encode(made).decode().lower()


def decimal(_: Scope, value: Any, point: Any = ".") -> str | None:
    """`decimal(a, ',')`: an amount with separators or a currency sign as a decimal text."""
    if point not in (".", ","):
        raise Refused("the decimal point is '.' or ','")
    return money.decimal_text(value, point)


def minor_units(_: Scope, value: Any, currency: Any, digits: Any = None) -> str | None:
    """`minor_units(a, currency, digits)`: cents as a decimal text; `digits` overrides ISO 4217's,
    as an object of currencies or as a number."""
    if value is None:
        return None
    return money.from_minor(value, text_of(currency), digits)


def add(_: Scope, *values: Any) -> str | None:
    """`add(a, …)`: the exact sum of what is not null; null where all are."""
    return money.total(values)


def total(scope: Scope, values: Any) -> str | None:
    """`total(list)`: the exact sum of a list, nulls left out; null for an empty list."""
    if values is None:
        return None
    if not isinstance(values, list):
        raise Refused(f"total() needs a list, not {shown(values)}")
    scope.visit(len(values))
    return money.total(values)


def subtract(_: Scope, value: Any, other: Any) -> str | None:
    """`subtract(a, b)`: exactly; null where one is null."""
    return money.difference(value, other)


def multiply(_: Scope, value: Any, other: Any) -> str | None:
    """`multiply(a, b)`: to nine places; null where one is null."""
    return money.product(value, other)


def is_positive(_: Scope, value: Any) -> bool:
    """`is_positive(a)`: whether an amount is above zero; false for null."""
    found = money.number(value)
    return found is not None and found > 0


def currency(_: Scope, value: Any, otherwise: Any = None) -> str | None:
    """`currency(a, default)`: the ISO 4217 code of a code, a sign or a usual name."""
    return money.code(text_of(value), text_of(otherwise))


def unscaled(_: Scope, value: Any, scale: Any) -> str | None:
    """`unscaled(a, scale)`: Kafka Connect's Decimal, a whole number in Base64, as a text."""
    if value is None:
        return None
    return money.from_bytes(text_of(value) or "", scale)


def epoch(_: Scope, value: Any, unit: Any = "s") -> str | None:
    """`epoch(a, 'ms')`: the time so many `s`, `ms`, `us`, `ns` or days (`d`) after 1970."""
    return moments.from_epoch(value, unit)


def in_zone(_: Scope, value: Any, name: Any) -> str | None:
    """`in_zone(a, 'Asia/Shanghai')`: a local time with the offset of its zone; an offset stays."""
    if value is None:
        return None
    return moments.parse(text_of(value) or "", _zone(name)).isoformat()


def parse_time(_: Scope, value: Any, form: Any, name: Any = "UTC") -> str | None:
    """`parse_time(a, '%d.%m.%Y %H:%M', zone)`: a local time in another notation."""
    found = text_of(value)
    if found is None:
        return None
    return moments.from_format(found, text_of(form) or "", _zone(name))


def _zone(name: Any) -> ZoneInfo:
    try:
        return zone(text_of(name) or "")
    except Invalid as error:
        raise Refused(error.reason) from error


def corrected(_: Scope, original: Any, sent: Any, received: Any) -> str | None:
    """`corrected(original, sent, received)`: a time by a wrong clock, moved by what the same clock
    was wrong when it sent; never after `received`."""
    begun, left, came = text_of(original), text_of(sent), text_of(received)
    if begun is None or left is None or came is None:
        return begun
    return moments.correct(begun, left, came)


def arrived(scope: Scope) -> str:
    """`arrived()`: when the record arrived."""
    return scope.arrived.isoformat()


def record(scope: Scope) -> Any:
    """`record()`: the whole record, also within `each`."""
    return scope.record


def header(scope: Scope, name: Any) -> str | None:
    """`header('x-shop')`: the text of a header, whatever the letters' case of its name."""
    wanted = (text_of(name) or "").lower()
    for known, value in scope.headers:
        if known.lower() == wanted and value is not None:
            return _decoded(value, f"the header {wanted!r}")
    return None


def key(scope: Scope) -> str | None:
    """`key()`: the record's key as text."""
    return None if scope.key is None else _decoded(scope.key, "the record's key")


def _decoded(value: bytes, what: str) -> str:
    """Returns a text as safe to store as those of a record."""
    try:
        found = value.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{what} is not UTF-8") from error
    if "\0" in found:
        raise Refused(f"{what} has a NUL character, which cannot be stored")
    return found


def _any(_: Sequence[Any]) -> None:
    """Accepts all constant arguments."""


def _known_zone(place: int) -> Callable[[Sequence[Any]], None]:
    """Checks a time zone that is written in the expression."""

    def check(constants: Sequence[Any]) -> None:
        if place < len(constants) and isinstance(constants[place], str):
            try:
                zone(constants[place])
            except Invalid as error:
                raise Mistake(error.reason) from error

    return check


def _known_unit(constants: Sequence[Any]) -> None:
    if len(constants) > 1 and constants[1] is not ... and constants[1] not in moments.UNITS:
        raise Mistake(f"the unit is one of {', '.join(moments.UNITS)}, not {constants[1]!r}")


@dataclass(frozen=True, slots=True)
class Function:
    """A named function: how many arguments it takes, and a check of the constant ones."""

    call: Callable[..., Any]
    least: int
    most: int | None
    check: Callable[[Sequence[Any]], None] = _any


FUNCTIONS: Final[dict[str, Function]] = {
    "add": Function(add, 1, None),
    "arrived": Function(arrived, 0, 0),
    "coalesce": Function(coalesce, 1, None),
    "concat": Function(concat, 1, None),
    "corrected": Function(corrected, 3, 3),
    "currency": Function(currency, 1, 2),
    "decimal": Function(decimal, 1, 2),
    "digest": Function(digest, 1, None),
    "epoch": Function(epoch, 1, 2, _known_unit),
    "header": Function(header, 1, 1),
    "in_zone": Function(in_zone, 2, 2, _known_zone(1)),
    "is_positive": Function(is_positive, 1, 1),
    "key": Function(key, 0, 0),
    "lookup": Function(lookup, 2, 3),
    "lower": Function(lower, 1, 1),
    "minor_units": Function(minor_units, 2, 3),
    "multiply": Function(multiply, 2, 2),
    "parse_time": Function(parse_time, 2, 3, _known_zone(2)),
    "record": Function(record, 0, 0),
    "replace": Function(replace, 3, 3),
    "split": Function(split, 2, 2),
    "subtract": Function(subtract, 2, 2),
    "text": Function(text, 1, 1),
    "total": Function(total, 1, 1),
    "trim": Function(trim, 1, 1),
    "unscaled": Function(unscaled, 2, 2),
    "upper": Function(upper, 1, 1),
}
