"""Use case: turns a batch of raw records into acknowledged activity events and dead letters.

It has two steps, so that one batch can be decided on while the batch before it is being sent. What
is sent is a deterministic function of the records: reading them again sends the same again. One bad
record never delays another; the order of a raw partition is kept.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from services.ingest.core.accept import accepted
from services.ingest.core.rates import RateTable
from services.ingest.core.trace import traceparent_of
from services.ingest.core.unknown import UnknownFields
from services.ingest.handlers.forward_control import to_every_partition
from services.ingest.ports import Outlet, Topics, Unreadable
from shared.contracts.activity import ENCODER
from shared.contracts.dead_letter import DeadLetter
from shared.contracts.events import CONTROL_TYPES
from shared.kafka.batch import ConsumedRecord
from shared.kafka.producer import Record as Outgoing
from shared.kernel.errors import Invalid

STAGE = "ingest"

log = structlog.get_logger(__name__)

SKEW_MS_MAX = 5 * 60 * 1000
"""How far a record's timestamp may be ahead of our clock: machines' clocks differ."""

SLICE_RECORDS_MAX = 100
"""Records decided on before the event loop runs other tasks, 1-2 ms: otherwise a batch that is
being sent, and HTTP requests, would wait for the next batch's decisions."""


@dataclass(slots=True)
class Sorted:
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


class AcceptBatch:
    """One per consumer loop."""

    def __init__(
        self,
        outlet: Outlet,
        topics: Topics,
        rates: RateTable,
        unknown_fields: UnknownFields = "typos",
    ) -> None:
        self._outlet = outlet
        self._topics = topics
        self._rates = rates
        self._unknown_fields = unknown_fields

    async def decide(self, records: Sequence[ConsumedRecord | Unreadable], now_ms: int) -> Sorted:
        """Decide on every record without sending; raises Transient when the broker is unreachable.

        `now_ms` (Unix ms) stands in for the arrival of records without a believable timestamp.
        """
        partitions = await self._outlet.partitions(self._topics.activity)
        done = Sorted()
        for begin in range(0, len(records), SLICE_RECORDS_MAX):
            await asyncio.sleep(0)
            self._sort(records[begin : begin + SLICE_RECORDS_MAX], now_ms, partitions, done)
        return done

    async def deliver(self, done: Sorted) -> None:
        """Send, and return once all is acknowledged; after Transient, repeat the whole batch."""
        await self._outlet.send(done.outgoing)

    def refuse(self, record: ConsumedRecord | Unreadable, reason: str) -> Sorted:
        """Return the dead letter of a record that is not processed again."""
        done = Sorted()
        self._refuse(record, Invalid("value", reason), done)
        return done

    def _sort(
        self,
        records: Sequence[ConsumedRecord | Unreadable],
        now_ms: int,
        partitions: int,
        done: Sorted,
    ) -> None:
        """Decide on records, adding to `done`; `partitions`: count of the activity topic's."""
        topic = self._topics.activity
        for record in records:
            # The sender sets the timestamp unless the topic is configured otherwise.
            believable = 0 < record.timestamp <= now_ms + SKEW_MS_MAX
            arrived_ms = record.timestamp if believable else now_ms
            try:
                event, notes = accepted(
                    record.value, record.headers, arrived_ms, self._rates, self._unknown_fields
                )
            except Invalid as fault:
                self._refuse(record, fault, done)
                continue
            except Exception as bug:  # a bug of ours: the other records go on
                log.exception("record set aside", topic=record.topic, offset=record.offset)
                why = f"a fault of ours: {type(bug).__name__}; replay it once that is mended"
                self._refuse(record, Invalid("value", why), done)
                continue
            done.refused.append(False)
            done.notes += notes
            done.accepted[event.type] += 1
            value, trace = ENCODER.encode(event), traceparent_of(record.headers)
            if event.type in CONTROL_TYPES:
                done.outgoing += to_every_partition(topic, partitions, value, trace)
            else:
                done.outgoing.append(Outgoing(topic, event.subject.encode(), value, trace))

    def _refuse(self, record: ConsumedRecord | Unreadable, fault: Invalid, done: Sorted) -> None:
        if isinstance(record, Unreadable):
            fault = record.fault
        letter = DeadLetter.of(record, STAGE, fault.field, fault.reason)
        done.refused.append(True)
        done.letters.append(letter)
        done.outgoing.append(
            Outgoing(self._topics.dead_letter, letter.key, letter.value, letter.to_headers())
        )
