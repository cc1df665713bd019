"""Use case: receives events over HTTP and sends the acceptable ones to the raw topic.

They pass the same check as Kafka's records, so that a sender learns of a fault at once. Then they
take the same path as any raw record: nothing is special about them afterwards.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from services.ingest.core.accept import accepted
from services.ingest.core.faults import index_path
from services.ingest.core.rates import RateTable
from services.ingest.core.unknown import UnknownFields
from services.ingest.ports import Outlet
from shared.contracts import headers as names
from shared.contracts.dead_letter import Headers
from shared.contracts.events import CONTROL_TYPES
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid, Transient
from shared.runtime.clock import Clock

EVENTS_MAX = 1_000
"""Events in one request: half a batch of the consumer, acknowledged in tens of milliseconds."""

TURN_S_MAX = 10.0
"""How long a request waits for the ones before it; after that the broker is in trouble."""

Keep = Callable[[bytes, Invalid, Headers], None]
"""Takes refused bytes with the headers an accepted event's record has; returns at once."""

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class Refusal(msgspec.Struct, frozen=True):
    """A report on one event: its place in the request, the field, and why."""

    index: int
    field: str
    reason: str


@dataclass(slots=True)
class Published:
    """The result of a request's events."""

    accepted: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[Refusal] = field(default_factory=list)
    """Notes on accepted events for their sender."""


class PublishEvents:
    """Publishes the events of a request. Safe to call concurrently.

    Requests are sent one after another, since one that fails closes the producer.
    """

    def __init__(
        self,
        outlet: Outlet,
        raw_topic: str,
        rates: RateTable,
        clock: Clock,
        unknown_fields: UnknownFields = "typos",
        keep: Keep = lambda value, fault, headers: None,
    ) -> None:
        self._outlet = outlet
        self._raw_topic = raw_topic
        self._rates = rates
        self._clock = clock
        self._unknown_fields = unknown_fields
        self._keep = keep
        self._turn = asyncio.Lock()

    async def __call__(self, body: bytes, trace: Headers) -> Published:
        """Publish `body`, a CloudEvent or an array; returns once the accepted are acknowledged.

        Raises Invalid when the body is neither, Transient when Kafka is unreachable.
        """
        now_ms = int(self._clock.now().timestamp() * 1000)
        done = Published()
        outgoing = []
        headers = ((names.CONTENT_TYPE, names.CLOUDEVENTS_JSON.encode()), *trace)
        for index, value in enumerate(self._split(body, headers)):
            try:
                key, notes = self._key(value, now_ms)
            except Invalid as fault:
                self._keep(value, fault, headers)
                done.refusals.append(Refusal(index, fault.field, fault.reason))
                continue
            done.notes += [Refusal(index, note.field, note.reason) for note in notes]
            outgoing.append(Record(self._raw_topic, key, value, headers))
        await self._send(outgoing)
        done.accepted = len(outgoing)
        return done

    def _split(self, body: bytes, headers: Headers) -> list[bytes]:
        try:
            return split(body)
        except Invalid as fault:
            self._keep(body, fault, headers)
            raise

    async def _send(self, outgoing: list[Record]) -> None:
        try:
            async with asyncio.timeout(TURN_S_MAX):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Transient("earlier requests are still not acknowledged") from error
        try:
            await self._outlet.send(outgoing)
        finally:
            self._turn.release()

    def _key(self, value: bytes, now_ms: int) -> tuple[bytes, tuple[Invalid, ...]]:
        """Return the customer of an acceptable event, and the notes about it."""
        event, notes = accepted(value, (), now_ms, self._rates, self._unknown_fields)
        if event.type in CONTROL_TYPES:
            raise Invalid("type", "control events are not taken over HTTP")
        return event.subject.encode(), notes


def split(body: bytes) -> list[bytes]:
    """Returns the events of a request as they were written; Invalid for a malformed array.

    >>> split(b'[{"id": "1"}, {"id": "2"}]')
    [b'{"id": "1"}', b'{"id": "2"}']
    """
    if not body.lstrip().startswith(b"["):
        return [body]
    try:
        events = _ARRAY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("body", f"not a JSON array of events: {error}") from error
    if len(events) > EVENTS_MAX:
        raise Invalid(index_path("body", EVENTS_MAX), f"send at most {EVENTS_MAX:,} events")
    return [bytes(event) for event in events]
