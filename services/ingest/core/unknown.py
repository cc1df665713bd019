"""Finds fields that a type does not have: they are refused or reported to the sender.

A name that is nearly a known one (`ammount`) is a typing error, and its value would be missing from
every figure. Any other may be a source's own addition, which is harmless.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, Final, Literal

import msgspec
from msgspec import inspect

from services.ingest.core.faults import fault, index_path, key_path
from shared.kernel.errors import Invalid

UnknownFields = Literal["refuse", "typos", "note"]
"""What happens to an event with unknown fields: `refuse`: it is refused; `typos`: it is refused
where the name is nearly a known one that is missing; `note`: it is accepted. For an accepted
event the field is reported to the sender and counted."""

NEAR: Final = 0.8
"""Similarity (Ratcliff and Obershelp) from which a name is a typing error: one letter in five."""

REPORTED_MAX: Final = 20
"""Unknown fields that are reported for one event."""


def look(data: Any, shape: type[msgspec.Struct], mode: UnknownFields) -> tuple[Invalid, ...]:
    """Returns notes on unknown fields in `data`; raises Invalid where `mode` refuses one.

    `data` has already been checked against `shape`.

    >>> from shared.contracts.events import Purchase
    >>> [str(note) for note in look({"amount": "1", "price": "2"}, Purchase, "typos")]
    ['data.price: unknown']
    """
    found = list(islice(_walk(data, shape, "data"), REPORTED_MAX))
    for note, is_typo in found:
        if mode == "refuse" or (mode == "typos" and is_typo):
            raise note
    return tuple(note for note, _ in found)


@cache
def _fields(shape: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct] | None]:
    """Maps the names of a type's fields to the struct type that they hold, or None."""
    hints = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    return {name: _inner(inspect.type_info(hint)) for name, hint in hints.items()}


def _inner(info: inspect.Type) -> type[msgspec.Struct] | None:
    if isinstance(info, inspect.StructType):
        return info.cls
    if isinstance(info, inspect.ListType):
        return _inner(info.item_type)
    if isinstance(info, inspect.UnionType):
        return next(filter(None, map(_inner, info.types)), None)
    return None


def _walk(data: Any, shape: type[msgspec.Struct], path: str) -> Iterator[tuple[Invalid, bool]]:
    """Yields a note on each unknown field, and whether its name is nearly a known one."""
    if isinstance(data, list):
        for index, item in enumerate(data):
            yield from _walk(item, shape, index_path(path, index))
        return
    if not isinstance(data, dict):
        return
    known = _fields(shape)
    absent = [name for name in known if name not in data]
    for name, value in data.items():
        here = key_path(path, name)
        if name not in known:
            near = get_close_matches(name.lower()[:60], absent, n=1, cutoff=NEAR)
            meant = f"; is `{near[0]}` meant?" if near else ""
            yield fault(here, f"unknown{meant}"), bool(near)
        elif (inner := known[name]) is not None:
            yield from _walk(value, inner, here)
