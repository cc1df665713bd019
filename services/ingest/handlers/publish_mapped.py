"""Use case: receives a source's own records over HTTP and sends the acceptable ones on.

They go to the raw topic as they came, with the name of their source, and are mapped again by the
consumer like the records of a source's own topic. A record that is refused there, or is replayed
after its mapping was mended, therefore needs nothing from its sender.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.mapping.document import CompiledMapping
from services.ingest.handlers.publish_events import Published, Publishing, Refusal
from shared.contracts import headers as names
from shared.contracts.dead_letter import Headers
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid

SLICE_RECORDS_MAX: Final = 100
"""Records mapped before the event loop runs other tasks, some milliseconds."""


@dataclass(frozen=True, slots=True)
class PublishMapped(Publishing):
    """Publishes the records of a request. Safe to call concurrently."""

    observe: Callable[[str, str, int], None] = lambda source, outcome, count: None
    """Called with the source, an outcome and how many records had it."""

    async def __call__(
        self,
        source: str,
        mapping: CompiledMapping,
        values: Sequence[bytes],
        headers: Headers,
        origin: str,
        *,
        sends_refused: bool = False,
    ) -> Published:
        """Publish `values`; returns once what was sent is acknowledged; raises Transient.

        `headers`: what the mapping may read, and the trace context. `sends_refused`: a refused
        record is sent as well and becomes a dead letter on the way, for a sender with few records
        that does not repeat what was answered. Otherwise it is kept as far as the bounds on refused
        events allow.
        """
        context = Context(int(self.clock.now().timestamp() * 1000), self.rates, headers)
        headers = ((names.SOURCE, source.encode()), *headers)
        done = Published()
        outgoing = []
        for index, value in enumerate(values):
            if index % SLICE_RECORDS_MAX == SLICE_RECORDS_MAX - 1:
                await asyncio.sleep(0)
            mapped = map_value(mapping, value, context)
            done.refused += [Refusal(index, x.field, x.reason) for x in mapped.refusals]
            if mapped.events:
                done.accepted += 1
                notes = [note for event in mapped.events for note in event.notes]
                done.noted += [Refusal(index, note.field, note.reason) for note in notes]
                key = mapped.events[0].event.subject.encode()
                outgoing.append(Record(self.raw_topic, key, value, headers))
            elif not mapped.refusals:
                done.ignored += 1
            elif sends_refused:
                outgoing.append(Record(self.raw_topic, None, value, headers))
            else:
                self.keep(value, mapped.refusals[0], headers, origin)
        await self.send(outgoing)
        self.observe(source, "accepted", done.accepted)
        self.observe(source, "ignored", done.ignored)
        self.observe(source, "refused", len({refusal.index for refusal in done.refused}))
        return done

    def refuse(
        self, source: str, body: bytes, fault: Invalid, headers: Headers, origin: str
    ) -> None:
        """Keep a body that holds no records, for the reason given."""
        self.keep(body, fault, ((names.SOURCE, source.encode()), *headers), origin)
