"""Writes a history to Kafka: first the past, silently, then day by day as if it happened now.

Everything goes into one partition of the raw topic, in time order, so that the order of events and
ticks holds in each partition downstream. Only a tick at every midnight (UTC) moves business time.

The replay keeps at most a few days ahead of the services: a queue of weeks would make the
throughput look better and falsify the delay from event to task.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice

from deploy.demo.dataset import ENCODER, CloudEvent, Dated
from shared.contracts.events import BACKFILL_ENDED, TICK
from shared.contracts.headers import BACKFILL, CLOUDEVENTS_JSON, CONTENT_TYPE
from shared.contracts.topics import ACTIVITY, RAW
from shared.kafka.producer import Producer, Record
from shared.runtime.clock import Clock

PARTITION = 0
CHUNK_RECORDS = 2_000
"""Records in flight at once, about 1.6 MB: as many as a batch of ingest takes."""

AHEAD_DAYS_MAX = 6
"""Days sent that the services have not processed. Their positions are seen up to 0.3 s late, which
at 6 days (2,800 events) a second is two of them; ingest, scoring and alerts have one in hand each.
More would only lengthen the queue, and with it the time to a task."""

IMPORT_ID = b"completejourney-2017"
SOURCE = "/completejourney/replay"
STRUCTURED = (CONTENT_TYPE, CLOUDEVENTS_JSON.encode())

Report = Callable[[int], None]
"""Called with the number of events sent so far."""


@dataclass(frozen=True, slots=True)
class Day:
    """A midnight (UTC) and the events from then until the next."""

    begins: datetime
    bodies: list[bytes]


def days(events: Iterable[Dated], begin: datetime, count: int) -> list[Day]:
    """Distribute `events`, ordered and none before `begin`, over `count` days.

    Later events are left out. The events are already encoded, so that this does not slow the
    replay.
    """
    dealt = [Day(begin + timedelta(days=number), []) for number in range(count)]
    for event in events:
        number = (event.time - begin).days
        if number >= count:
            break
        dealt[number].bodies.append(event.body)
    return dealt


class Replayer:
    """Sends records through `producer`; `clock` gives the ticks' sending times."""

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self._producer = producer
        self._clock = clock
        self.controls = 0
        """Ticks and end markers sent: ingest copies each to every partition."""
        self.tick_sent_ms: dict[datetime, int] = {}
        """When each tick was sent (Unix milliseconds, wall clock): its business time began then."""

    async def backfill(self, events: Iterable[Dated]) -> int:
        """Send `events` as silent history, as fast as Kafka accepts them; return their number."""
        headers = (STRUCTURED, (BACKFILL, IMPORT_ID))
        sent = 0
        for chunk in _chunks(event.body for event in events):
            await self._send(chunk, headers)
            sent += len(chunk)
        return sent

    async def end_backfill(self, at: datetime) -> None:
        """Mark the end of the silent part: what follows is live."""
        ended = CloudEvent(id="backfill-ended", source=SOURCE, type=BACKFILL_ENDED, time=at)
        await self._send([ENCODER.encode(ended)], (STRUCTURED,))
        self.controls += 1

    async def replay(
        self, days: Iterable[Day], catch_up: Callable[[int], Awaitable[None]], report: Report
    ) -> int:
        """Send each day's tick and, right behind it, its events; return the number of events.

        Before each day it awaits `catch_up(records)`, which returns once the services have no
        more than so many records to read: those of the last `AHEAD_DAYS_MAX` days.
        """
        sent = 0
        ahead: deque[int] = deque(maxlen=AHEAD_DAYS_MAX)
        for day in days:
            await catch_up(sum(ahead))
            ahead.append(len(day.bodies) + ACTIVITY.partitions)
            for chunk in _chunks(chain([self._tick(day.begins)], day.bodies)):
                await self._send(chunk, (STRUCTURED,))
            self.controls += 1
            sent += len(day.bodies)
            report(sent)
        return sent

    def _tick(self, at: datetime) -> bytes:
        """Build the tick that makes this midnight the present, and note its sending time."""
        tick = CloudEvent(id=f"tick-{at:%Y-%m-%d}", source=SOURCE, type=TICK, time=at)
        self.tick_sent_ms[at] = int(self._clock.now().timestamp() * 1000)
        return ENCODER.encode(tick)

    async def _send(
        self, bodies: Iterable[bytes], headers: tuple[tuple[str, bytes | None], ...]
    ) -> None:
        await self._producer.send(
            Record(RAW.name, None, body, headers, PARTITION) for body in bodies
        )


def _chunks(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    waiting = iter(bodies)
    while chunk := list(islice(waiting, CHUNK_RECORDS)):
        yield chunk
