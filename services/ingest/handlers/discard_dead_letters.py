"""Use case: discards dead letters that are never to be replayed, and deletes settled contents.

The fact stays: what was refused and why, and who discarded it, when and why. The content (key,
value, headers) is deleted some days after a dead letter was discarded or replayed; until then a
mistake can be corrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from services.ingest.handlers.settle_dead_letters import Choice, Settled, settle
from services.ingest.ports import DeadLetterIndex, Settlement, StoredDeadLetter
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

EVERY_S: Final = 3_600.0
"""Between two deletions, in seconds: retention is counted in days."""
RETRY_S: Final = 30.0
"""Seconds to wait after an error that passes."""
DROPPED_MAX: Final = 500
"""Contents deleted in one transaction: a second, if they are large."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DiscardDeadLetters:
    """Discards dead letters for an operator."""

    index: DeadLetterIndex
    clock: Clock

    async def __call__(self, choice: Choice, by: str, why: str | None = None) -> Settled:
        """Discard the chosen ones that wait and return which; raises Transient."""
        done = Settlement("discarded", self.clock.now(), by, why)
        result = await settle(self.index, choice, done, self._keep)
        log.info("dead letters discarded", count=result.count, left=result.untouched_count, by=by)
        return result

    @staticmethod
    async def _keep(page: Sequence[StoredDeadLetter], _: Settled) -> list[int]:
        return [stored.facts.id for stored in page]


@dataclass(frozen=True, slots=True)
class DropContents:
    """Deletes the content of dead letters `days` after they were settled."""

    index: DeadLetterIndex
    clock: Clock
    days: int

    async def once(self) -> int:
        """Delete all that is due; returns of how many dead letters. Raises Transient."""
        now, count = self.clock.now(), 0
        before = now - timedelta(days=self.days)
        while found := await self.index.drop_contents(before, now, DROPPED_MAX):
            count += found
        if count:
            log.info("contents of settled dead letters deleted", count=count)
        return count

    async def watch(self, stop: Stop) -> None:
        """Delete now, and repeatedly until stopped."""
        await repeat(self.once, stop, "contents", EVERY_S, at_once=True, retry_s=RETRY_S)
