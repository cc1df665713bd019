"""Compiles the fields of an event's data, after the contract's own types.

What an expression gives is converted to what the contract holds: whole numbers to ids, numbers to
decimal texts, local times to times with an offset. A null or blank result leaves the field out.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

import msgspec
from msgspec import inspect

from services.ingest.core.faults import fault, index_path
from services.ingest.core.mapping import moments, money
from services.ingest.core.mapping.functions import shown, text_of
from services.ingest.core.mapping.scope import Evaluate, Refused, Scope, suggested
from services.ingest.core.mapping.tree import Node
from shared.contracts.events import ID_LENGTH_MAX, DecimalText
from shared.kernel.errors import Invalid

ENTRIES_MAX: Final = 100
"""Entries of a dictionary that a rule names, as many as a profile may have attributes."""

ITEMS_MAX: Final = 1_000
"""Elements of a list in an event, the contract's bound: what follows is left out and noted."""

EACH: Final = "each"
"""The key of the expression that gives a list's elements."""

Convert = Callable[[Any, Scope, str], Any]
"""A result of an expression in, a value of the contract out; None leaves the field out."""

Build = Callable[[Any, Scope], dict[str, Any]]
"""The current value in, an object of the contract out; raises Invalid with the field's path."""


class Reader(Protocol):
    """What compiles values and collects mistakes."""

    def value(self, node: Node, path: str) -> Evaluate:
        """Compile an expression or a constant."""
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


def compile_object(
    shape: type[msgspec.Struct], node: Node, path: str, reader: Reader, place: str = "data"
) -> Build:
    """Returns what builds an object of this shape; `place`: its path within the event."""
    hints = {f.encode_name: f.type for f in msgspec.structs.fields(shape)}
    steps: list[tuple[str, Evaluate]] = []
    for name, found in node.value.items():
        if name not in hints:
            reader.wrong(found, f"{path}.{name}", f"unknown; {suggested(name, hints)}")
            continue
        info = _bare(inspect.type_info(hints[name]))
        made = _field(info, found, f"{path}.{name}", reader, f"{place}.{name}")
        if made is not None:
            steps.append((name, made))

    def build(value: Any, scope: Scope) -> dict[str, Any]:
        made = {}
        for name, step in steps:
            try:
                found = step(value, scope)
            except Invalid:
                raise
            except (ValueError, ArithmeticError, RecursionError, TypeError) as error:
                raise fault(f"{place}.{name}", explain(error)) from error
            if found is not None:
                made[name] = found
        return made

    return build


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


def _field(
    info: inspect.Type, node: Node, path: str, reader: Reader, place: str
) -> Evaluate | None:
    """Compiles one field; None after a mistake."""
    if isinstance(info, inspect.StructType):
        return _struct(info, node, path, reader, place)
    if isinstance(info, inspect.DictType):
        return _dictionary(info, node, path, reader, place)
    if isinstance(info, inspect.ListType):
        if isinstance(info.item_type, inspect.StructType):
            return _structs(info.item_type, node, path, reader, place)
        return _texts(info.item_type, reader.value(node, path), place)
    return _converted(_convert(info), reader.value(node, path), place)


def _converted(convert: Convert, value: Evaluate, place: str) -> Evaluate:
    def step(current: Any, scope: Scope) -> Any:
        found = value(current, scope)
        return None if found is None or found == "" else convert(found, scope, place)

    def text_step(current: Any, scope: Scope) -> Any:
        found = value(current, scope)
        return (found or None) if isinstance(found, str) else step_of(found, scope)

    def step_of(found: Any, scope: Scope) -> Any:
        return None if found is None else convert(found, scope, place)

    return text_step if convert in (_text, _amount) else step


def _texts(info: inspect.Type, value: Evaluate, place: str) -> Evaluate:
    """Compiles a list of texts."""
    convert = _convert(info)

    def step(current: Any, scope: Scope) -> Any:
        found = value(current, scope)
        if found is None:
            return None
        if not isinstance(found, list):
            raise Refused(f"must be a list, not {shown(found)}")
        scope.visit(len(found))
        made = [convert(x, scope, place) for x in found if x is not None and x != ""]
        return made or None

    return step


def _is_object(node: Node, path: str, reader: Reader, example: str) -> bool:
    if isinstance(node.value, dict):
        return True
    reader.wrong(node, path, f"must be an object, such as {example}")
    return False


def _struct(
    info: inspect.StructType, node: Node, path: str, reader: Reader, place: str
) -> Evaluate | None:
    if not _is_object(node, path, reader, f"{{{names(info.cls)[0]}: an expression}}"):
        return None
    build, needed = compile_object(info.cls, node, path, reader, place), required(info.cls)

    def step(current: Any, scope: Scope) -> Any:
        made = build(current, scope)
        return made if made and all(name in made for name in needed) else None

    return step


def _structs(
    info: inspect.StructType, node: Node, path: str, reader: Reader, place: str
) -> Evaluate | None:
    """Compiles a list of objects: `each` gives the elements, the others their fields."""
    example = f"{{{EACH}: a list, {names(info.cls)[0]}: an expression}}"
    if not _is_object(node, path, reader, example):
        return None
    if EACH not in node.value:
        reader.wrong(node, f"{path}.{EACH}", "missing: the expression that gives the list")
        return None
    each = reader.value(node.value[EACH], f"{path}.{EACH}")
    inner = Node({k: v for k, v in node.value.items() if k != EACH}, node.line, node.column)
    build = compile_object(info.cls, inner, path, reader, f"{place}[]")

    def step(current: Any, scope: Scope) -> Any:
        found = each(current, scope)
        if found is None:
            return None
        if not isinstance(found, list):
            raise Refused(f"must be a list, not {shown(found)}")
        if len(found) > ITEMS_MAX:
            scope.note(
                index_path(place, ITEMS_MAX), f"of {len(found):,} the first {ITEMS_MAX:,} are kept"
            )
        scope.visit(len(found))
        made = [build(element, scope) for element in found[:ITEMS_MAX]]
        return [one for one in made if one] or None

    return step


def _dictionary(
    info: inspect.DictType, node: Node, path: str, reader: Reader, place: str
) -> Evaluate | None:
    if not _is_object(node, path, reader, "{name: an expression}"):
        return None
    if len(node.value) > ENTRIES_MAX:
        reader.wrong(node, path, f"{len(node.value)} entries, at most {ENTRIES_MAX}")
        return None
    convert = _convert(info.value_type)
    steps = [
        (name, _converted(convert, reader.value(each, f"{path}.{name}"), f"{place}.{name}"))
        for name, each in node.value.items()
    ]

    def step(current: Any, scope: Scope) -> Any:
        made = ((name, each(current, scope)) for name, each in steps)
        return {name: found for name, found in made if found is not None} or None

    return step


def _convert(info: inspect.Type) -> Convert:
    if isinstance(info, inspect.StrType):
        if info.pattern == _AMOUNT.pattern:
            return _amount
        if info.pattern is None and info.max_length not in (None, ID_LENGTH_MAX):
            return _cut_to(info.max_length or 0)
        return _text
    if isinstance(info, inspect.FloatType | inspect.IntType):
        return _number
    if isinstance(info, inspect.BoolType):
        return _boolean
    if isinstance(info, inspect.DateTimeType):
        return _time
    return _text


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
    if isinstance(value, str):
        return value  # the contract's own check names what is wrong
    found = money.number(value)
    return None if found is None else money.written(found)


def _number(value: Any, _: Scope, __: str) -> float | int | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    found = money.number(value)
    return None if found is None else float(found)


def _boolean(value: Any, _: Scope, __: str) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"must be true or false, not {shown(value)}")
    return value


def _time(value: Any, scope: Scope, __: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"{shown(value)} is no text: convert it with epoch()")
    return moments.written(moments.parse(value, scope.zone))
