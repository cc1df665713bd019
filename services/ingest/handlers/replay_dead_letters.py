"""Use case: sends refused records back to their origin, unchanged.

It is used after the cause is mended (a rate added, a bug of ours corrected). The original bytes,
key and headers go to the original topic and partition, or to the raw topic if they came over HTTP.
Doing it twice is harmless: an event is recognised by its id, and a record that is refused again
becomes a new dead letter.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.ingest.core.refused import is_http
from services.ingest.ports import DeadLetterIndex, Outlet, Search, StoredDeadLetter
from shared.contracts.dead_letter import DeadLetter
from shared.kafka.producer import Record
from shared.runtime.clock import Clock

PAGE = 50
"""Dead letters in memory at once: 50 of the largest take 200 MB, 50 usual ones 100 KB."""


class ReplayDeadLetters:
    """Replays dead letters for the operator's command."""

    def __init__(
        self, index: DeadLetterIndex, outlet: Outlet, clock: Clock, raw_topic: str
    ) -> None:
        self._raw_topic = raw_topic
        self._index = index
        self._outlet = outlet
        self._clock = clock

    async def one(self, letter_id: int) -> bool:
        """Replay the dead letter with this number; False when there is none."""
        stored = await self._index.get(letter_id)
        if stored is None:
            return False
        await self._replay([stored])
        return True

    async def all(self, search: Search) -> int:
        """Replay all dead letters that match `search`, oldest first; returns how many.

        Records that are refused again meanwhile are left out: otherwise it would never end.
        """
        search = replace(search, id_max=await self._index.newest())
        count, last = 0, 0
        while page := await self._index.search(search, PAGE, after=last):
            await self._replay(page)
            count, last = count + len(page), page[-1].id
        return count

    async def _replay(self, page: Sequence[StoredDeadLetter]) -> None:
        await self._outlet.send(self._record(stored.letter) for stored in page)
        await self._index.mark_replayed([stored.id for stored in page], self._clock.now())

    def _record(self, letter: DeadLetter) -> Record:
        topic: str = letter.origin.topic
        partition: int | None = letter.origin.partition
        if is_http(topic):
            topic, partition = self._raw_topic, None
        return Record(topic, letter.key, letter.value, letter.original_headers, partition)
