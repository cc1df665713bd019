"""Applies a mapping to a record: the events that it becomes, and why others are refused.

The result is a deterministic function of the arguments; no input makes it raise anything. Each
event is settled as a CloudEvent is (`accept.settled`), so both ways have the same checks and the
same canonical form.
"""

from dataclasses import dataclass
from datetime import UTC
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from services.ingest.core import message
from services.ingest.core.accept import Accepted, Event, import_of, settled
from services.ingest.core.faults import WHOLE, fault, from_msgspec
from services.ingest.core.mapping import debezium, moments
from services.ingest.core.mapping.document import CompiledMapping, Rule
from services.ingest.core.mapping.expression import is_false
from services.ingest.core.mapping.fields import explain
from services.ingest.core.mapping.functions import shown, text_of
from services.ingest.core.mapping.scope import Scope
from services.ingest.core.rates import RateTable
from shared.contracts.dead_letter import Headers
from shared.contracts.events import ID_LENGTH_MAX
from shared.kernel.errors import Invalid

EVENTS_MAX: Final = 1_000
"""Events that one record may become: as many as an HTTP request may hold."""

ONCE: Final = b"null"
"""Takes the place of the data in the content hash of an event of which the first version stands."""

NUL: Final = b"\\u0000"
"""How JSON writes the character that PostgreSQL's texts cannot hold."""

_FAILURES: Final = (ValueError, ArithmeticError, RecursionError, TypeError, AttributeError)
"""What an expression raises on a value that it cannot use."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about a record besides its value. `arrived_ms`: Unix ms of its arrival."""

    arrived_ms: int
    rates: RateTable
    headers: Headers = ()
    key: bytes | None = None


class Mapped(NamedTuple):
    """The result of applying a mapping to one record."""

    events: tuple[Accepted, ...] = ()
    refusals: tuple[Invalid, ...] = ()
    """One for each event that is not acceptable. The others are; sent again, they are known."""
    ignored: str | None = None
    """The rule that ignores the record; `otherwise` where none matches and the mapping says so, and
    `no event` where the rules that match give none."""


def map_value(mapping: CompiledMapping, value: bytes | None, context: Context) -> Mapped:
    """Applies a mapping to a record's bytes, as they came from Kafka or over HTTP."""
    if value is None and mapping.reads == "debezium":
        return Mapped(ignored="tombstone")
    try:
        return apply(mapping, _read(mapping, value, context.headers), context)
    except Invalid as refusal:
        return Mapped(refusals=(refusal,))


def apply(mapping: CompiledMapping, record: Any, context: Context) -> Mapped:
    """Applies a mapping to a JSON value, such as a row of a file."""
    try:
        backfill = import_of(context.headers)
    except Invalid as refusal:
        return Mapped(refusals=(refusal,))
    if mapping.reads == "debezium":
        record = debezium.unwrapped(record)
    scope = Scope(record, context.arrived_ms, context.headers, context.key, mapping.zone)
    done = _Events(mapping, context, scope, backfill)
    matched = False
    for rule in mapping.rules:
        try:
            if rule.match is not None and is_false(rule.match(record, scope)):
                continue
        except _FAILURES as error:
            done.refusals.append(fault("match", f"rule {rule.name!r}: {explain(error)}"))
            return done.result()
        if rule.event_type is None:
            return done.result(rule.name)
        matched = True
        done.add(rule)
        if mapping.first_only:
            break
    if matched or done.refusals:
        return done.result("no event")
    if mapping.ignores_others:
        return Mapped(ignored="otherwise")
    why = f"no rule of the mapping {mapping.name!r} matches: add one, or one that ignores it"
    return Mapped(refusals=(fault("match", why),))


def _read(mapping: CompiledMapping, value: bytes | None, headers: Headers) -> Any:
    value = message.present(value)
    if mapping.reads != "cloudevents":
        return message.document(value)
    attributes, _ = message.read(value, headers, message.mode_of(headers))
    return attributes


class _Events:
    """Collects the events of one record."""

    def __init__(
        self, mapping: CompiledMapping, context: Context, scope: Scope, backfill: str | None
    ) -> None:
        self._mapping = mapping
        self._context = context
        self._scope = scope
        self._backfill = backfill
        self._events: list[Accepted] = []
        self.refusals: list[Invalid] = []

    def result(self, ignored: str | None = None) -> Mapped:
        """Return what was collected; the record's notes are with its first event."""
        events = self._events
        if self._scope.notes and events:
            first = events[0]
            events[0] = Accepted(first.event, (*first.notes, *self._scope.notes))
        found = None if events or self.refusals else ignored
        return Mapped(tuple(events), tuple(self.refusals), found)

    def add(self, rule: Rule) -> None:
        """Add the events of a rule that matches."""
        scope = self._scope
        if rule.each is None:
            self._add(rule, scope.record)
            return
        try:
            elements = rule.each(scope.record, scope)
        except _FAILURES as error:
            self.refusals.append(fault("each", f"rule {rule.name!r}: {explain(error)}"))
            return
        if elements is None:
            return
        if not isinstance(elements, list):
            why = f"rule {rule.name!r}: must give a list, not {shown(elements)}"
            self.refusals.append(fault("each", why))
            return
        for element in elements:
            if len(self._events) + len(self.refusals) >= EVENTS_MAX:
                why = f"rule {rule.name!r}: the record becomes more than {EVENTS_MAX:,} events"
                self.refusals.append(fault("each", why))
                return
            self._add(rule, element)

    def _add(self, rule: Rule, value: Any) -> None:
        try:
            self._events.append(self._event(rule, value))
        except Invalid as refusal:
            why = f"rule {rule.name!r}: {refusal.reason}"
            self.refusals.append(fault(refusal.field, why))

    def _event(self, rule: Rule, value: Any) -> Accepted:
        if rule.event_type is None or rule.build is None or rule.shape is None:
            raise AssertionError("a rule that ignores makes no event")
        scope, parts = self._scope, rule.parts
        part = "id"
        try:
            event_id = _needed(text_of(parts["id"](value, scope)), "id")
            part = "subject"
            customer = _needed(text_of(parts["customer"](value, scope)), "subject")
            part = "time"
            # In UTC from here on: comparing times with other offsets costs several times as much.
            time = moments.parse(_time(parts["time"](value, scope)), scope.zone).astimezone(UTC)
            part = "source"
            given = text_of(parts["source"](value, scope)) if "source" in parts else None
            source = _needed(given or self._mapping.source, "source")
            part = "backfill"
            named = parts["backfill"](value, scope) if "backfill" in parts else None
            unnamed = self._backfill is not None or is_false(named)
            backfill = self._backfill if unnamed else _needed(text_of(named), "backfill")
        except _FAILURES as error:
            raise fault(part, explain(error)) from error
        canonical = _canonical(rule.build(value, scope))
        event = Event(
            specversion="1.0",
            id=event_id,
            source=source,
            type=rule.event_type,
            time=time,
            subject=customer,
            data=_typed(canonical, rule.shape),
        )
        if rule.once:
            canonical = ONCE
        context = self._context
        return settled(
            event, canonical, backfill, context.arrived_ms, context.rates, once=rule.once
        )


def _canonical(data: dict[str, Any]) -> bytes:
    """Returns an event's data in canonical JSON, as the content hash reads them."""
    try:
        canonical = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise fault(WHOLE, f"cannot be written: {explain(error)}") from error
    if NUL in canonical:
        raise fault("data", "a NUL character cannot be stored")
    return canonical


@cache
def _decoder(shape: type[msgspec.Struct]) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(shape)


def _typed(canonical: bytes, shape: type[msgspec.Struct]) -> msgspec.Struct:
    """Returns data as the contract's type: decoding is twice as fast as converting the objects."""
    try:
        return _decoder(shape).decode(canonical)
    except msgspec.ValidationError as error:
        raise from_msgspec(error, "data") from error


def _needed(text: str | None, field: str) -> str:
    """Returns an id that is there and can be stored; raises Invalid otherwise."""
    if text is None or not text:
        raise fault(field, "missing: the expression gives nothing for this record")
    if len(text) > ID_LENGTH_MAX:
        raise fault(field, f"{len(text):,} characters, at most {ID_LENGTH_MAX} are accepted")
    if "\0" in text:
        raise fault(field, "a NUL character cannot be stored")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise fault(field, "half of a surrogate pair is no character")
    return text


def _time(value: Any) -> str:
    if value is None or value == "":
        raise fault("time", "missing: the expression gives nothing for this record")
    if not isinstance(value, str):
        raise fault("time", f"{shown(value)} is no text: convert it with epoch()")
    return value
