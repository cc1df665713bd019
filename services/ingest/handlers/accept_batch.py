"""Use case: turns a batch of raw records into acknowledged activity events and dead letters.

It has two steps, so that one batch can be decided on while the batch before it is being sent. What
is sent is a deterministic function of the records (but for a trace that begins here): reading them
again sends the same again. One bad
record never delays another; the order of a raw partition is kept.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from services.ingest.core import event_arrays
from services.ingest.core.accept import Accepted, accepted
from services.ingest.core.dead_letters import first_arrival, producer_of
from services.ingest.core.faults import fault
from services.ingest.core.mapping.apply import Context, Mapped, map_value
from services.ingest.core.mapping.document import CompiledMapping
from services.ingest.core.message import text_of
from services.ingest.core.rates import RateTable
from services.ingest.core.source_clocks import Timing
from services.ingest.core.times import is_future
from services.ingest.core.unknown import UnknownFields
from services.ingest.handlers.open_frames import Content, OpenFrames
from services.ingest.ports import Outlet, Topics, Unreadable
from shared.contracts.activity import ENCODER
from shared.contracts.dead_letter import DeadLetter, Headers
from shared.contracts.events import CONTROL_TYPES
from shared.contracts.headers import SOURCE
from shared.contracts.trace import trace_of
from shared.kafka.batch import ConsumedRecord
from shared.kafka.producer import Record as Outgoing
from shared.kernel.errors import Invalid
from shared.observability import tracing

STAGE = "ingest"

log = structlog.get_logger(__name__)

SKEW_MS_MAX = 5 * 60 * 1000
"""How far a record's timestamp may be ahead of our clock: machines' clocks differ."""

SLICE_RECORDS_MAX = 100
"""Records decided on before the event loop runs other tasks, 1-2 ms: otherwise a batch that is
being sent, and HTTP requests, would wait for the next batch's decisions."""


@dataclass(slots=True)
class DecidedBatch:
    """The result of deciding on a batch of records."""

    outgoing: list[Outgoing] = field(default_factory=list)
    """Records to send, in the order of the records read."""
    refused: list[bool] = field(default_factory=list)
    """The verdict on each record."""
    accepted: Counter[str] = field(default_factory=Counter)
    """Number of accepted events by type."""
    letters: list[DeadLetter] = field(default_factory=list)
    notes: list[Invalid] = field(default_factory=list)
    """Notes on accepted events: unknown fields, clamped times."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Number of records that a mapping ignores, by its name."""
    timings: list[Timing] = field(default_factory=list)
    """Times of accepted live events."""
    future: list[str] = field(default_factory=list)
    """Source of each event refused as future; the topic where its source cannot be read."""
    trace: Headers = field(default_factory=tracing.here)
    """Trace context of what follows from records without one of their own."""


def no_mapping(_: str) -> None:
    """Returns None: no topic has a mapping."""


@dataclass(frozen=True, slots=True)
class AcceptBatch:
    """One per consumer loop."""

    outlet: Outlet
    topics: Topics
    rates: RateTable
    unknown_fields: UnknownFields = "typos"
    mapping_of: Callable[[str], CompiledMapping | None] = no_mapping
    """Returns the mapping of a raw topic; None: its records are CloudEvents."""
    source_mapping_of: Callable[[str], CompiledMapping | None] = no_mapping
    """Returns the mapping of an HTTP source, for a record that names one."""
    observe: Callable[[DecidedBatch], None] = lambda decided: None
    """Called with what was sent and acknowledged."""
    frames: OpenFrames | None = None
    """Decodes records that name a schema of a registry; None: there is no registry."""

    async def decide(self, records: Sequence[ConsumedRecord], now_ms: int) -> DecidedBatch:
        """Decide on every record without sending; raises Transient when the broker, or a schema
        registry that is needed, is unreachable.

        `now_ms` (Unix ms) stands in for the arrival of records without a believable timestamp.
        """
        partitions = await self.outlet.partitions(self.topics.activity)
        decided = DecidedBatch()
        for begin in range(0, len(records), SLICE_RECORDS_MAX):
            await asyncio.sleep(0)
            these = records[begin : begin + SLICE_RECORDS_MAX]
            contents = these if self.frames is None else await self.frames(these)
            self._decide(these, contents, now_ms, partitions, decided)
        return decided

    async def deliver(self, decided: DecidedBatch) -> None:
        """Send, and return once all is acknowledged; after Transient, repeat the whole batch."""
        await self.outlet.send(decided.outgoing)
        self.observe(decided)

    def refuse(self, record: ConsumedRecord, reason: str) -> DecidedBatch:
        """Return the dead letter of a record that is not processed again."""
        decided = DecidedBatch()
        self._refuse(record, Invalid("value", reason), decided)
        return decided

    def _decide(
        self,
        records: Sequence[ConsumedRecord],
        contents: Sequence[Content],
        now_ms: int,
        partitions: int,
        decided: DecidedBatch,
    ) -> None:
        """Decide on records, adding to `decided`; `partitions`: count of the activity topic's.

        `contents`: of each, itself or what was decoded of it, or why that is not possible. The dead
        letter keeps the record as it came.
        """
        for record, content in zip(records, contents, strict=True):
            if isinstance(content, Invalid):
                self._refuse(record, content, decided)
                continue
            # The sender sets the timestamp unless the topic is configured otherwise.
            believable = 0 < record.timestamp <= now_ms + SKEW_MS_MAX
            arrived_ms = record.timestamp if believable else now_ms
            try:
                mapping = self._mapping(content)
            except Invalid as refusal:
                self._refuse(record, refusal, decided)
                continue
            try:
                if mapping is None or isinstance(content, Unreadable):
                    first_ms = _first_ms(content, arrived_ms)
                    found = accepted(
                        content.value, content.headers, first_ms, self.rates, self.unknown_fields
                    )
                    self._accept(record, (found,), arrived_ms, partitions, decided)
                    decided.refused.append(False)
                else:
                    mapped = self._map(mapping, content, arrived_ms, decided)
                    self._conclude(record, mapped, arrived_ms, partitions, decided)
            except Invalid as refusal:
                # Looked at only now, so that an array costs the other records nothing.
                array = None if mapping else self._array(content, arrived_ms)
                if array is None:
                    self._refuse(record, refusal, decided)
                else:
                    self._conclude(record, array, arrived_ms, partitions, decided)
            except Exception as bug:  # a bug of ours: the other records go on
                log.exception("record set aside", topic=record.topic,
                              partition=record.partition, offset=record.offset)  # fmt: skip
                why = f"a fault of ours: {type(bug).__name__}; replay it once that is mended"
                self._refuse(record, Invalid("value", why), decided)

    def _mapping(self, record: ConsumedRecord) -> CompiledMapping | None:
        """Return the mapping of a record's HTTP source, or of its topic; None: a CloudEvent."""
        for name, value in record.headers:
            if name == SOURCE:
                source = text_of(name, value)
                mapping = self.source_mapping_of(source)
                if mapping is None:
                    why = "put one that is for it (--http), then replay this"
                    raise fault(SOURCE, f"no mapping is in force for the source {source!r}: {why}")
                return mapping
        return self.mapping_of(record.topic)

    def _map(
        self,
        mapping: CompiledMapping,
        record: ConsumedRecord,
        arrived_ms: int,
        decided: DecidedBatch,
    ) -> Mapped:
        """Apply a source's mapping to its record, which may become several events."""
        first_ms = _first_ms(record, arrived_ms)
        context = Context(first_ms, self.rates, record.headers, record.key)
        mapped = map_value(mapping, record.value, context)
        if mapped.ignored is not None:
            decided.ignored[mapping.name] += 1
        return mapped

    def _array(self, record: ConsumedRecord, arrived_ms: int) -> Mapped | None:
        first_ms = _first_ms(record, arrived_ms)
        rates, unknown = self.rates, self.unknown_fields
        return event_arrays.decide(record.value, record.headers, first_ms, rates, unknown)

    def _conclude(
        self,
        record: ConsumedRecord,
        mapped: Mapped,
        arrived_ms: int,
        partitions: int,
        decided: DecidedBatch,
    ) -> None:
        """Add the events of a record.

        Where one of them is refused the record becomes a dead letter and the others are sent: when
        it is replayed, they are recognised by their ids.
        """
        self._accept(record, mapped.events, arrived_ms, partitions, decided)
        if not mapped.refusals:
            decided.refused.append(False)
            return
        first, *others = mapped.refusals
        more = f" (and {len(others)} more)" if others else ""
        self._refuse(record, Invalid(first.field, first.reason + more), decided)

    def _accept(
        self,
        record: ConsumedRecord,
        events: Sequence[Accepted],
        arrived_ms: int,
        partitions: int,
        decided: DecidedBatch,
    ) -> None:
        topic, trace = self.topics.activity, trace_of(record.headers) or decided.trace
        for event, notes in events:
            decided.notes += notes
            decided.accepted[event.type] += 1
            # A replayed event is not late: its latency counts from the replay.
            first_ms, event.receivedms = event.receivedms, arrived_ms
            value = ENCODER.encode(event)
            if event.backfill is None and event.type not in CONTROL_TYPES:
                at_s = event.time.timestamp()
                decided.timings.append(Timing(event.source, at_s, at_s - first_ms / 1000))
            if event.type in CONTROL_TYPES:
                # It concerns all customers: each partition gets it in its place, without a key.
                decided.outgoing += [
                    Outgoing(topic, None, value, trace, partition=n) for n in range(partitions)
                ]
            else:
                decided.outgoing.append(Outgoing(topic, event.subject.encode(), value, trace))

    def _refuse(self, record: ConsumedRecord, why: Invalid, decided: DecidedBatch) -> None:
        if isinstance(record, Unreadable):
            why = record.fault
        letter = DeadLetter.of(record, STAGE, why.field, why.reason)
        decided.refused.append(True)
        decided.letters.append(letter)
        if is_future(why):
            decided.future.append(producer_of(record.value, record.headers) or record.topic)
        decided.outgoing.append(
            Outgoing(self.topics.dead_letter, letter.key, letter.value, letter.to_headers())
        )


def _first_ms(record: ConsumedRecord, arrived_ms: int) -> int:
    """Returns the arrival (Unix ms) that decides on a record's time: of a replay, the first one."""
    return first_arrival(record.headers, arrived_ms) or arrived_ms
