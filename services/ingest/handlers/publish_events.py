"""Use case: receives events over HTTP and sends the acceptable ones to the raw topic.

They pass the same check as Kafka's records, so that a sender learns of a fault at once. Then they
take the same path as any raw record: nothing is special about them afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from services.ingest.core.accept import accepted
from services.ingest.core.bodies import Form, split
from services.ingest.core.message import STRUCTURED_HEADERS
from services.ingest.core.rates import RateTable
from services.ingest.core.refused import EVENTS_ORIGIN
from services.ingest.core.unknown import UnknownFields
from services.ingest.handlers.send_together import SendTogether
from shared.contracts.dead_letter import Headers
from shared.contracts.events import CONTROL_TYPES
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock

Keep = Callable[[bytes, Invalid, Headers, str], None]
"""Takes refused bytes with the headers that an accepted event's record has, and the route that they
came to; returns at once."""

Admit = Callable[[int], None]
"""Counts the events of a request; raises TooMany when its sender has sent enough."""


def keep_nothing(_: bytes, __: Invalid, ___: Headers, ____: str) -> None:
    """Keeps no refused event."""


def admit_all(_: int) -> None:
    """Admits any number of events."""


class Refusal(msgspec.Struct, frozen=True):
    """A report on one event: its place in the request, the field, and why."""

    index: int
    field: str
    reason: str


class Published(msgspec.Struct):
    """The result of a request's events, as an answer shows it."""

    accepted: int = 0
    ignored: int = 0
    """Records that a mapping ignores."""
    refused: list[Refusal] = []
    noted: list[Refusal] = []
    """Notes on accepted events for their sender."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """What publishing needs, whatever the records of a request are."""

    send: SendTogether
    raw_topic: str
    rates: RateTable
    clock: Clock
    keep: Keep = keep_nothing


@dataclass(frozen=True, slots=True)
class PublishEvents(Publishing):
    """Publishes the events of a request. Safe to call concurrently."""

    unknown_fields: UnknownFields = "typos"

    async def __call__(
        self,
        body: bytes,
        trace: Headers,
        form: Form = "json",
        binary: Headers = (),
        admit: Admit = admit_all,
    ) -> Published:
        """Publish the events in `body`; returns once the accepted are acknowledged.

        `binary`: the headers of binary mode, with one event's data as the body. Raises Invalid when
        the body is not of its form, TooMany, Transient when Kafka is unreachable.
        """
        now_ms = int(self.clock.now().timestamp() * 1000)
        done = Published()
        outgoing = []
        headers = (*(binary or STRUCTURED_HEADERS), *trace)
        try:
            values = split(body, form)
        except Invalid as fault:
            self.keep(body, fault, headers, EVENTS_ORIGIN)
            raise
        admit(len(values))
        for index, value in enumerate(values):
            try:
                key, notes = self._key(value, binary, now_ms)
            except Invalid as fault:
                self.keep(value, fault, headers, EVENTS_ORIGIN)
                done.refused.append(Refusal(index, fault.field, fault.reason))
                continue
            done.noted += [Refusal(index, note.field, note.reason) for note in notes]
            outgoing.append(Record(self.raw_topic, key, value, headers))
        await self.send(outgoing)
        done.accepted = len(outgoing)
        return done

    def _key(self, value: bytes, binary: Headers, now_ms: int) -> tuple[bytes, tuple[Invalid, ...]]:
        """Return the customer of an acceptable event, and the notes about it."""
        event, notes = accepted(value, binary, now_ms, self.rates, self.unknown_fields)
        if event.type in CONTROL_TYPES:
            raise Invalid("type", "control events are not taken over HTTP")
        return event.subject.encode(), notes
