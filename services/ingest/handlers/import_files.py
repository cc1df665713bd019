"""Use case: sends the events of files to the raw topic, once, and as history unless they are news.

Every event is decided on by `accept` before it is sent, as ingest will decide on it again: what it
refuses is rejected with its rows instead of becoming a dead letter. History goes to one partition,
so that the end marker comes behind all of it, and the marker is sent whatever happens. What was
acknowledged is noted, so that an interrupted import goes on where it stopped.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

import polars as pl

from services.ingest.core.accept import accepted
from services.ingest.core.file_events import FileEvent, end_marker, file_events
from services.ingest.core.message import STRUCTURED_HEADERS
from services.ingest.core.rates import RateTable
from services.ingest.ports import ImportNotes, Outlet
from shared.contracts.headers import BACKFILL
from shared.event_files.distinct import Distinct
from shared.event_files.faults import Rejects
from shared.event_files.reader import EventFile
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock

CHUNK_EVENTS = 10_000
"""Events sent and acknowledged at once, about 3 MB: what an interruption repeats at most."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the events of all files are sent."""

    topic: str
    source: str
    """The CloudEvents source: with the id it identifies an event."""
    currency: str | None
    """ISO 4217, of amounts without one; None: the reporting currency."""
    live: bool
    """News: decided on as if it came now. False: history, which raises no task."""


@dataclass(slots=True)
class PreparedFile:
    """A file with its columns decided, and what is rejected of it."""

    file: EventFile
    rejects: Rejects


@dataclass(slots=True)
class Outcome:
    """What an import did."""

    events: int = 0
    """Events of the files, those of an earlier, interrupted run included."""
    sent: int = 0
    """Events that this run sent."""
    rows: int = 0
    """Rows of the files in these events."""
    customers: Distinct = field(default_factory=Distinct)
    ended: bool = False
    """Whether the end marker was sent and acknowledged."""


Advance = Callable[[int], None]
"""Called with the number of rows sent so far; raises to interrupt the import."""


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Within the block, an Invalid that does not name the file is raised with its name."""
    try:
        yield
    except Invalid as fault:
        if file in fault.reason:
            raise
        raise Invalid(fault.field, f"{file}: {fault.reason}") from fault


@dataclass(frozen=True, slots=True)
class ImportFiles:
    """One import; `judge` may be used without sending."""

    outlet: Outlet
    terms: Terms
    rates: RateTable
    clock: Clock

    async def run(
        self, files: Sequence[PreparedFile], notes: ImportNotes, advance: Advance
    ) -> Outcome:
        """Send the events of all files, then the end marker, the marker also after a failure.

        Raises Transient when the broker is away, Invalid for a file that cannot be read.
        """
        outcome, terms = Outcome(), self.terms
        headers = STRUCTURED_HEADERS
        partition = None
        if not terms.live:
            headers += ((BACKFILL, notes.name.encode()),)
            # Of one source always the same one, so that also a later run's markers come behind.
            count = await self.outlet.partitions(terms.topic)
            partition = zlib.crc32(terms.source.encode()) % count
        try:
            events, seen = self._events(files, outcome), blake2b(digest_size=8)
            for event in islice(events, notes.acknowledged):
                seen.update(event.value)
                outcome.events += 1
            if outcome.events and seen.hexdigest() != notes.digest:
                # Other rates, or rows that lay in the future then: some of these were never sent.
                events, seen = self._events(files, outcome), blake2b(digest_size=8)
                outcome.events = 0
            while chunk := list(islice(events, CHUNK_EVENTS)):
                if not terms.live:
                    notes.begin()
                await self.outlet.send(
                    Record(terms.topic, event.customer.encode(), event.value, headers, partition)
                    for event in chunk
                )
                seen.update(b"".join(event.value for event in chunk))
                outcome.events += len(chunk)
                outcome.sent += len(chunk)
                notes.acknowledge(outcome.events, seen.hexdigest())
                outcome.rows += sum(len(event.rows) for event in chunk)
                advance(outcome.rows)
        finally:
            if not terms.live:
                await self._end(notes, partition)
                outcome.ended = True
        return outcome

    def _events(self, files: Sequence[PreparedFile], outcome: Outcome) -> Iterator[FileEvent]:
        return (event for file in files for event in self.judged(file, outcome))

    def judged(self, prepared: PreparedFile, outcome: Outcome) -> Iterator[FileEvent]:
        """Yield the events of a file that `accept` takes; the rows of the others are rejected."""
        with naming(prepared.rejects.file):
            for frame in prepared.file.frames():
                outcome.customers.add(frame["customer_id"])
                yield from self._of_frame(frame, prepared.rejects)

    def _of_frame(self, frame: pl.DataFrame, rejects: Rejects) -> Iterator[FileEvent]:
        now = self.clock.now()
        terms = self.terms
        for event in file_events(frame, terms.source, terms.currency, self.rates, now):
            if not event.ordinary:
                try:
                    accepted(
                        event.value, STRUCTURED_HEADERS, int(now.timestamp() * 1_000), self.rates
                    )
                except Invalid as fault:
                    rejects.add(dict.fromkeys(event.rows, str(fault)))
                    continue
            yield event

    async def _end(self, notes: ImportNotes, partition: int | None) -> None:
        """End the imports that were begun and not ended, this one and one it took over from."""
        for name in notes.begun():
            value = end_marker(name, self.terms.source, self.clock.now())
            headers = (*STRUCTURED_HEADERS, (BACKFILL, name.encode()))
            await self.outlet.send([Record(self.terms.topic, None, value, headers, partition)])
        notes.end()
