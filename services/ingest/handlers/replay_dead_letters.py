"""Use case: sends refused records back to their origin, unchanged.

It is used after the cause is mended (a mapping, a rate, an upstream system, a bug of ours). The
original bytes, key and headers go to the original topic and partition, or to the raw topic if they
came over HTTP. Two headers are added: when the record first arrived, by which its time is judged,
and the dead letter's number, by which a second refusal is recognised as one. An event that was
accepted meanwhile is recognised by its id.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.ingest.core.dead_letters import destination, replay_headers
from services.ingest.handlers.settle_dead_letters import Choice, Settled, settle
from services.ingest.ports import DeadLetterIndex, Outlet, Settlement, StoredDeadLetter
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid, Transient
from shared.runtime.clock import Clock

SEND_S_MAX: Final = 8.0
"""How long the broker may take to acknowledge a page; its rows are locked meanwhile: PostgreSQL
ends a transaction that is idle for 10 s."""

POLL_S: Final = 0.25
"""Between two checks of what was refused again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReplayDeadLetters:
    """Replays dead letters for an operator."""

    index: DeadLetterIndex
    outlet: Outlet
    clock: Clock
    raw_topic: str

    async def __call__(self, choice: Choice, by: str, why: str | None = None) -> Settled:
        """Replay the chosen ones and return what was sent; raises Transient.

        After Transient some pages may have been sent; they are no longer waiting.
        """
        done = Settlement("replayed", self.clock.now(), by, why)
        result = await settle(self.index, choice, done, self._send)
        log.info("dead letters replayed", count=result.count, left=result.untouched_count, by=by)
        return result

    async def refused_again(self, ids: Sequence[int], wait_s: float) -> dict[int, int]:
        """Return the replayed ones that were refused again, with the new dead letter of each.

        Waits `wait_s` for the services to decide, less where all were refused.
        """
        begin_s = self.clock.monotonic()
        while True:
            found = await self.index.refused_again(ids) if ids else {}
            left_s = begin_s + wait_s - self.clock.monotonic()
            if len(found) == len(ids) or left_s <= 0:
                return found
            await asyncio.sleep(min(POLL_S, left_s))

    async def _send(self, page: Sequence[StoredDeadLetter], result: Settled) -> list[int]:
        records: dict[int, Record] = {}
        for stored in page:
            try:
                records[stored.facts.id] = self._record(stored)
            except Invalid as why:
                result.leave(stored.facts.id, why.reason)
        try:
            async with asyncio.timeout(SEND_S_MAX):
                await self.outlet.send(records.values())
        except TimeoutError as error:
            raise Transient(f"Kafka acknowledged nothing within {SEND_S_MAX:g} s") from error
        result.topics.update(record.topic for record in records.values())
        return list(records)

    def _record(self, stored: StoredDeadLetter) -> Record:
        if stored.facts.dropped_at is not None:
            raise Invalid("value", f"its content was deleted {stored.facts.dropped_at:%Y-%m-%d}")
        letter = stored.letter
        topic, partition = destination(letter, self.raw_topic)
        headers = replay_headers(letter, stored.facts.id)
        return Record(topic, letter.key, letter.value, headers, partition)
