"""Applies a mapping to a record: the events that it becomes, and why others are refused.

The result is a deterministic function of the arguments; no input makes it raise anything. Each
event gets its canonical form as a CloudEvent does (`accept.canonical_form`), so both ways have the
same checks and the same form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from services.ingest.core import message
from services.ingest.core.accept import Accepted, Event, canonical_form, import_of
from services.ingest.core.faults import WHOLE, fault
from services.ingest.core.mapping import debezium
from services.ingest.core.mapping.document import CompiledMapping, Rule
from services.ingest.core.mapping.event import FAILURES
from services.ingest.core.mapping.fields import explain
from services.ingest.core.mapping.functions import shown
from services.ingest.core.mapping.scope import Scope
from services.ingest.core.rates import RateTable
from shared.contracts.dead_letter import Headers
from shared.kernel.errors import Invalid

EVENTS_MAX: Final = 1_000
"""Events that one record may become: as many as an HTTP request may hold."""

ONCE: Final = b"null"
"""Takes the place of the data in the content hash of an event of which the first version stands."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about a record besides its value. `arrived_ms`: Unix ms of its arrival."""

    arrived_ms: int
    rates: RateTable
    headers: Headers = ()
    key: bytes | None = None


class Mapped(msgspec.Struct, frozen=True):
    """The result of applying a mapping to one record."""

    events: tuple[Accepted, ...] = ()
    refusals: tuple[Invalid, ...] = ()
    """One for each event that is not acceptable. The others are; sent again, they are known."""
    ignored: str | None = None
    """The rule that ignores the record; `otherwise` where none matches and the mapping ignores the
    others, `no event` where the rules that match give none."""


def map_value(mapping: CompiledMapping, value: bytes | None, context: Context) -> Mapped:
    """Applies a mapping to a record's bytes, as they came from Kafka or over HTTP."""
    if value is None and mapping.reads == "debezium":
        return Mapped(ignored="tombstone")
    try:
        backfill = import_of(context.headers) if context.headers else None
        record = _read(mapping, value, context.headers)
    except Invalid as refusal:
        return Mapped(refusals=(refusal,))
    if mapping.reads == "debezium":
        record = debezium.unwrapped(record)
    if mapping.unwrap and isinstance(record, dict) and len(record) == 1:
        ((name, inner),) = record.items()
        if name in mapping.unwrap:
            return _each(mapping, inner if isinstance(inner, list) else [inner], context, backfill)
    return _mapped(mapping, record, context, backfill)


def _each(
    mapping: CompiledMapping, records: Sequence[Any], context: Context, backfill: str | None
) -> Mapped:
    """Returns what records that came together become."""
    events: list[Accepted] = []
    refusals: list[Invalid] = []
    ignored: str | None = "no event"
    for index, record in enumerate(records):
        if len(events) >= EVENTS_MAX:
            refusals.append(fault(WHOLE, f"it becomes more than {EVENTS_MAX:,} events"))
            break
        one = _mapped(mapping, record, context, backfill)
        events += one.events
        refusals += [fault(x.field, f"record {index}: {x.reason}") for x in one.refusals]
        ignored = one.ignored or ignored
    return Mapped(tuple(events), tuple(refusals), None if events or refusals else ignored)


def _mapped(
    mapping: CompiledMapping, record: Any, context: Context, backfill: str | None
) -> Mapped:
    """Returns what one record becomes."""
    scope = Scope(record, context.arrived_ms, context.headers, context.key, mapping.zone)
    chosen, failed = mapping.select(record, scope)
    if not chosen and failed is None:
        if mapping.ignores_others:
            return Mapped(ignored="otherwise")
        why = f"no rule of the mapping {mapping.name!r} matches: add one, or one that ignores it"
        return Mapped(refusals=(fault("match", why),))
    ignored = "no event"
    events: list[Accepted] = []
    refusals: list[Invalid] = []
    for place in chosen:
        rule = mapping.rules[place]
        if rule.read is None:
            ignored = rule.name
            break
        for element in _elements(rule, scope, refusals):
            if len(events) + len(refusals) >= EVENTS_MAX:
                why = f"the record becomes more than {EVENTS_MAX:,} events"
                refusals.append(_of(rule, "each", why))
                break
            try:
                events.append(_event(mapping, rule, element, scope, context, backfill))
            except Invalid as refusal:
                refusals.append(_of(rule, refusal.field, refusal.reason))
    if failed is not None:
        refusals.append(failed)
    if scope.notes and events:  # with the first event, since they are about the record
        events[0] = Accepted(events[0].event, (*events[0].notes, *scope.notes))
    return Mapped(tuple(events), tuple(refusals), None if events or refusals else ignored)


def _read(mapping: CompiledMapping, value: bytes | None, headers: Headers) -> Any:
    value = message.present(value)
    if mapping.reads != "cloudevents":
        return message.document(value)
    attributes, _ = message.read(value, headers, message.mode_of(headers))
    return attributes


def _of(rule: Rule, field: str, reason: str) -> Invalid:
    return fault(field, f"rule {rule.name!r}: {reason}")


def _elements(rule: Rule, scope: Scope, refusals: list[Invalid]) -> Sequence[Any]:
    """Returns what a rule is applied to, each giving an event; adds a refusal where it fails."""
    if rule.each is None:
        return (scope.record,)
    try:
        found = rule.each(scope.record, scope)
    except FAILURES as error:
        refusals.append(_of(rule, "each", explain(error)))
        return ()
    if found is None or isinstance(found, list):
        return found or ()
    refusals.append(_of(rule, "each", f"must give a list, not {shown(found)}"))
    return ()


def _event(
    mapping: CompiledMapping,
    rule: Rule,
    value: Any,
    scope: Scope,
    context: Context,
    backfill: str | None,
) -> Accepted:
    if rule.read is None or rule.event_type is None:
        raise AssertionError("a rule that ignores makes no event")
    event_id, customer, time, source, named, data = rule.read(value, scope)
    event = Event(
        specversion="1.0",
        id=event_id,
        source=source or mapping.source,
        type=rule.event_type,
        time=time,
        subject=customer,
        data=data,
    )
    return canonical_form(
        event,
        ONCE if rule.once else _canonical(data),
        backfill or named,
        context.arrived_ms,
        context.rates,
        once=rule.once,
    )


def _canonical(data: dict[str, Any]) -> bytes:
    """Returns an event's data in canonical JSON, as the content hash reads them."""
    try:
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise fault(WHOLE, f"cannot be written: {explain(error)}") from error
