"""Writes the functions of a mapping: which rules a record matches, and the event that one gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from services.ingest.core.faults import fault
from services.ingest.core.mapping import fields, moments
from services.ingest.core.mapping.expression import VALUE, is_true
from services.ingest.core.mapping.fields import Place, Reader
from services.ingest.core.mapping.functions import shown, text_of
from services.ingest.core.mapping.program import Code
from services.ingest.core.mapping.scope import Scope
from services.ingest.core.mapping.tree import Node
from shared.contracts.events import ID_LENGTH_MAX
from shared.kernel.errors import Invalid

FAILURES: Final = (ValueError, ArithmeticError, RecursionError, TypeError, AttributeError)
"""What an expression raises on a value that it cannot use."""

Read = tuple[str, str, datetime, str | None, str | None, dict[str, Any]]
"""Id, customer, time in UTC, source, import and data; None: the record does not have it."""

ReadEvent = Callable[[Any, Scope], Read]
"""The record, or an element of it, in; raises Invalid with the field's path."""

Select = Callable[[Any, Scope], tuple[list[int], Invalid | None]]
"""A record in; the places of the rules that match, up to the last one that applies, and why a
condition after them failed."""

PARTS: Final = {
    "id": "id",
    "customer": "subject",
    "time": "time",
    "source": "source",
    "backfill": "backfill",
}
"""What every event has as expressions, in order, and their fields in the event; `source` and
`backfill` may be absent."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule applies; `match` None: always."""

    rule: str
    match: Node | None
    path: str
    last: bool
    """No rule after this one applies where this one does."""


def write_select(conditions: Sequence[Condition], reader: Reader, code: Code) -> None:
    """Adds to `code` a function's body that is a `Select`."""
    code.line("found = []")
    with code.block("try"):
        for place, condition in enumerate(conditions):
            code.line(f"at = {condition.rule!r}")
            if condition.match is None:
                _write_match(place, condition, code)
                continue
            matches = reader.value(condition.match, f"{condition.path}.match", code, VALUE)
            with code.block(f"if {is_true(matches)}"):
                _write_match(place, condition, code)
    with code.block(f"except {code.program.bind(FAILURES)} as error"):
        code.line(f"return found, {code.call(_unmatched, 'at', 'error')}")
    code.line("return found, None")


def _write_match(place: int, condition: Condition, code: Code) -> None:
    code.line(f"found.append({place})")
    if condition.last:
        code.line("return found, None")


def _unmatched(rule: str, error: Exception) -> Invalid:
    return fault("match", f"rule {rule!r}: {fields.explain(error)}")


def write_event(
    whole: Node, shape: type[msgspec.Struct], path: str, reader: Reader, code: Code
) -> None:
    """Adds to `code` a function's body that is a `ReadEvent`; `whole`: a rule with the defaults."""
    bound = code.program.bind
    with code.block("try"):
        results = [_part(part, whole, path, reader, code) for part in PARTS]
        data = {name: whole.value[name] for name in fields.names(shape) if name in whole.value}
        place = Place(path, "data", VALUE)
        node = Node(data, whole.line, whole.column)
        results.append(fields.write_object(shape, node, place, reader, code))
        code.line(f"return {', '.join(results)}")
    with code.block(f"except {bound(Invalid)}"):
        code.line("raise")
    with code.block(f"except {bound(FAILURES)} as error"):
        code.line(f"raise {code.call(_failed, 'at', 'error')} from error")


def _part(part: str, whole: Node, path: str, reader: Reader, code: Code) -> str:
    node = whole.value.get(part)
    if node is None:
        return "None"
    code.line(f"at = {PARTS[part]!r}")
    found = reader.value(node, f"{path}.{part}", code, VALUE)
    if part == "time":
        return code.assign(code.call(_instant, found, "scope"))
    made = code.call(needed, found, "at")
    if part in ("id", "customer"):
        return code.assign(made)
    return code.assign(f"{made} if {is_true(found)} else None")


def _failed(field: str, error: Exception) -> Invalid:
    return fault(field, fields.explain(error))


def needed(value: Any, field: str) -> str:
    """Returns an id that is there and can be stored; raises Invalid or Refused otherwise."""
    text = value if isinstance(value, str) else text_of(value)
    if not text:
        raise fault(field, "missing: the expression gives nothing for this record")
    if len(text) > ID_LENGTH_MAX:
        raise fault(field, f"{len(text):,} characters, at most {ID_LENGTH_MAX} are accepted")
    return text


def _instant(value: Any, scope: Scope) -> datetime:
    """Returns a time in UTC: comparing times with other offsets costs several times as much."""
    if value and isinstance(value, str):
        return moments.parse(value, scope.zone).astimezone(UTC)
    if value is None or value == "":
        raise fault("time", "missing: the expression gives nothing for this record")
    raise fault("time", f"{shown(value)} is no text: convert it with epoch()")
