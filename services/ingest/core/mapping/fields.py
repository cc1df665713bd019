"""Compiles the fields of an event's data, after the contract's own types.

What an expression gives is converted to what the contract holds: whole numbers to ids, numbers to
decimal texts, local times to times with an offset. A null or blank result leaves the field out.
The lines that are written keep the path of the field they are at in the variable `at`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import msgspec
from msgspec import inspect

from services.ingest.core.faults import index_path
from services.ingest.core.mapping import moments, money
from services.ingest.core.mapping.functions import shown, text_of
from services.ingest.core.mapping.program import Code
from services.ingest.core.mapping.scope import Refused, Scope, suggested
from services.ingest.core.mapping.tree import Node
from shared.contracts.events import ID_LENGTH_MAX, DecimalText

ENTRIES_MAX: Final = 100
"""Entries of a dictionary that a rule names, as many as a profile may have attributes."""

ITEMS_MAX: Final = 1_000
"""Elements of a list in an event, the contract's bound: what follows is left out and noted."""

EACH: Final = "each"
"""The key of the expression that gives a list's elements."""

NUMBERS: Final = frozenset((int, float))
"""The types of JSON's numbers in Python; a bool is an int there, and is none of them."""

Convert = Callable[[Any, Scope, str], Any]
"""A result of an expression in, a value of the contract out; None leaves the field out."""


class Reader(Protocol):
    """What compiles values and collects mistakes."""

    def value(self, node: Node, path: str, code: Code, value: str) -> str:
        """Write an expression or a constant; returns the name of its result."""
        ...

    def wrong(self, node: Node, path: str, reason: str) -> None:
        """Add a mistake."""
        ...


@cache
def names(shape: type[msgspec.Struct]) -> tuple[str, ...]:
    """Returns the names of a contract's fields."""
    return tuple(field.encode_name for field in msgspec.structs.fields(shape))


@cache
def required(shape: type[msgspec.Struct]) -> tuple[str, ...]:
    """Returns the names of the fields without a default."""
    return tuple(f.encode_name for f in msgspec.structs.fields(shape) if f.required)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is read and what it becomes."""

    path: str
    """Of the expression in the document."""
    field: str
    """Of the result in the event."""
    value: str
    """The variable that expressions are evaluated on."""

    def of(self, name: str) -> "Place":
        """Return the place of a field of this object."""
        return Place(f"{self.path}.{name}", f"{self.field}.{name}", self.value)


def write_object(
    shape: type[msgspec.Struct], node: Node, place: Place, reader: Reader, code: Code
) -> str:
    """Adds to `code` what builds an object of this shape; returns its variable."""
    hints = {f.encode_name: f.type for f in msgspec.structs.fields(shape)}
    made = code.assign("{}")
    for name, found in node.value.items():
        if name not in hints:
            wanted = f"unknown; {suggested(name, hints)}"
            reader.wrong(found, f"{place.path}.{name}", wanted)
            continue
        info = _bare(inspect.type_info(hints[name]))
        _write_field(info, found, place.of(name), reader, code, f"{made}[{name!r}]")
    return made


def explain(error: Exception) -> str:
    """Returns why an expression failed, for the sender."""
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error).partition("\n")[0] or type(error).__name__


def _bare(info: inspect.Type) -> inspect.Type:
    """Returns the type of an optional field without its None."""
    if isinstance(info, inspect.UnionType):
        return next(each for each in info.types if not isinstance(each, inspect.NoneType))
    return info


def _write_field(
    info: inspect.Type, node: Node, place: Place, reader: Reader, code: Code, target: str
) -> None:
    """Writes one field, assigned to `target` where it is there."""
    code.line(f"at = {place.field!r}")
    if isinstance(info, inspect.StructType):
        _write_struct(info, node, place, reader, code, target)
    elif isinstance(info, inspect.DictType):
        _write_dictionary(info, node, place, reader, code, target)
    elif isinstance(info, inspect.ListType) and isinstance(info.item_type, inspect.StructType):
        _write_structs(info.item_type, node, place, reader, code, target)
    elif isinstance(info, inspect.ListType):
        found = reader.value(node, place.path, code, place.value)
        convert = code.program.bind(_convert(info.item_type))
        made = code.assign(code.call(_texts, found, "scope", repr(place.field), convert))
        _keep_true(code, target, made)
    else:
        _write_converted(info, node, place, reader, code, target)


def _keep_true(code: Code, target: str, found: str) -> None:
    with code.block(f"if {found}"):
        code.line(f"{target} = {found}")


def _write_converted(
    info: inspect.Type, node: Node, place: Place, reader: Reader, code: Code, target: str
) -> None:
    found = reader.value(node, place.path, code, place.value)
    converted = code.call(_convert(info), found, "scope", repr(place.field))
    if isinstance(info, inspect.StrType):
        fits = f" and len({found}) <= {info.max_length}" * _is_cut(info)
        kept = f"{found} is None or (isinstance({found}, str){fits})"
        _keep_true(code, target, code.assign(f"{found} if {kept} else {converted}"))
        return
    converted = f"None if {found} is None or {found} == '' else {converted}"
    if isinstance(info, inspect.FloatType | inspect.IntType):
        numbers = code.program.bind(NUMBERS)
        converted = f"{found} if type({found}) in {numbers} else {converted}"
    made = code.assign(converted)
    with code.block(f"if {made} is not None"):
        code.line(f"{target} = {made}")


def _listed(found: Any, scope: Scope) -> list[Any]:
    """Returns a list, empty for null; Refused otherwise."""
    if found is None:
        return []
    if not isinstance(found, list):
        raise Refused(f"must be a list, not {shown(found)}")
    scope.visit(len(found))
    return found


def _texts(found: Any, scope: Scope, place: str, convert: Convert) -> list[Any]:
    """Converts a list of texts."""
    listed = _listed(found, scope)
    return [convert(x, scope, place) for x in listed if x is not None and x != ""]


def _is_object(node: Node, path: str, reader: Reader, example: str) -> bool:
    if isinstance(node.value, dict):
        return True
    reader.wrong(node, path, f"must be an object, such as {example}")
    return False


def _write_struct(
    info: inspect.StructType, node: Node, place: Place, reader: Reader, code: Code, target: str
) -> None:
    if not _is_object(node, place.path, reader, f"{{{names(info.cls)[0]}: an expression}}"):
        return
    made = write_object(info.cls, node, place, reader, code)
    needed = (f"{name!r} in {made}" for name in required(info.cls))
    with code.block(f"if {' and '.join((made, *needed))}"):
        code.line(f"{target} = {made}")


def _write_structs(
    info: inspect.StructType, node: Node, place: Place, reader: Reader, code: Code, target: str
) -> None:
    """Writes a list of objects: `each` gives the elements, the others their fields."""
    example = f"{{{EACH}: a list, {names(info.cls)[0]}: an expression}}"
    if not _is_object(node, place.path, reader, example):
        return
    if EACH not in node.value:
        where = f"{place.path}.{EACH}"
        reader.wrong(node, where, "missing: the expression that gives the list")
        return
    found = reader.value(node.value[EACH], f"{place.path}.{EACH}", code, place.value)
    elements = code.assign(code.call(_elements, found, "scope", repr(place.field)))
    inner = Node({k: v for k, v in node.value.items() if k != EACH}, node.line, node.column)
    made, element = code.assign("[]"), code.assign("None")
    with code.block(f"for {element} in {elements}"):
        here = Place(place.path, f"{place.field}[]", element)
        one = write_object(info.cls, inner, here, reader, code)
        with code.block(f"if {one}"):
            code.line(f"{made}.append({one})")
    _keep_true(code, target, made)


def _elements(found: Any, scope: Scope, place: str) -> list[Any]:
    listed = _listed(found, scope)
    if (count := len(listed)) > ITEMS_MAX:
        scope.note(index_path(place, ITEMS_MAX), f"of {count:,} the first {ITEMS_MAX:,} are kept")
    return listed[:ITEMS_MAX]


def _write_dictionary(
    info: inspect.DictType, node: Node, place: Place, reader: Reader, code: Code, target: str
) -> None:
    if not _is_object(node, place.path, reader, "{name: an expression}"):
        return
    if len(node.value) > ENTRIES_MAX:
        reader.wrong(node, place.path, f"{len(node.value)} entries, at most {ENTRIES_MAX}")
        return
    made = code.assign("{}")
    for name, each in node.value.items():
        here = place.of(name)
        code.line(f"at = {here.field!r}")
        _write_converted(info.value_type, each, here, reader, code, f"{made}[{name!r}]")
    _keep_true(code, target, made)


def _convert(info: inspect.Type) -> Convert:
    if isinstance(info, inspect.StrType):
        if info.pattern == _AMOUNT.pattern:
            return _amount
        return _cut_to(info.max_length or 0) if _is_cut(info) else _text
    if isinstance(info, inspect.FloatType | inspect.IntType):
        return _number
    if isinstance(info, inspect.BoolType):
        return _boolean
    if isinstance(info, inspect.DateTimeType):
        return _time
    return _text


def _is_cut(info: inspect.StrType) -> bool:
    """Returns whether a text that is too long is cut: no id and nothing with a notation is."""
    return info.pattern is None and info.max_length not in (None, ID_LENGTH_MAX)


def _info_of(hint: Any) -> inspect.StrType:
    info = inspect.type_info(hint)
    if not isinstance(info, inspect.StrType):
        raise TypeError("a decimal text is a text")
    return info


_AMOUNT: Final = _info_of(DecimalText)


def _text(value: Any, _: Scope, __: str) -> str | None:
    return text_of(value)


def _cut_to(chars_max: int) -> Convert:
    """Returns a conversion to a text that is cut, with a note, where it is too long."""

    def convert(value: Any, scope: Scope, place: str) -> str | None:
        if isinstance(value, float) and not value.is_integer():
            return repr(value)
        if isinstance(value, bool):
            return str(value).lower()
        found = text_of(value)
        if found is not None and len(found) > chars_max:
            scope.note(place, f"of {len(found):,} characters the first {chars_max:,} are kept")
            return found[:chars_max]
        return found

    return convert


def _amount(value: Any, _: Scope, __: str) -> str | None:
    found = money.number(value)
    return None if found is None else money.written(found)


def _number(value: Any, _: Scope, __: str) -> float | int | None:
    if type(value) in NUMBERS:
        return value  # type: ignore[no-any-return]
    found = money.number(value)
    return None if found is None else float(found)


def _boolean(value: Any, _: Scope, __: str) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"must be true or false, not {shown(value)}")
    return value


def _time(value: Any, scope: Scope, __: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"{shown(value)} is no text: convert it with epoch()")
    return moments.parse(value, scope.zone).isoformat()
