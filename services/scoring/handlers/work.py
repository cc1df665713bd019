"""The customers of one turn, and what is known of each before the arithmetic."""

from datetime import UTC, datetime, timedelta
from typing import Final

from services.scoring.ports import EventRows, Loaded, PartitionTurn

AFTER_BACKFILL: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A timer of whom an import touched: due as soon as it has ended, and that look is the first."""

AT_NEXT_TICK: Final = AFTER_BACKFILL + timedelta(seconds=1)
"""A timer of whom live events touched between ticks: due at the next one."""

AT_ONCE: Final = frozenset({AFTER_BACKFILL, AT_NEXT_TICK})


class Work:
    """The customers of one turn: those touched by events and those whose timer is due."""

    def __init__(
        self, events: EventRows, turns: list[PartitionTurn], due: list[tuple[str, int]]
    ) -> None:
        self.events = events
        self.turns = {t.tp[1]: t for t in turns}
        self._row_of: dict[str, int] = {}
        self.customers: list[str] = []
        self.partition: list[int] = []
        self.event_rows = [
            self._add(customer, record.partition)
            for customer, record in zip(events.customer, events.record, strict=True)
        ]
        self.touched = len(self.customers)
        """The first so many customers were touched by events."""
        self.due_rows = [self._add(customer, partition) for customer, partition in due]
        self.partitions = set(self.partition)
        self.imported = {
            row for row, live in zip(self.event_rows, events.live, strict=True) if not live
        }
        """Rows that a backfill touched in this turn."""

    def _add(self, customer: str, partition: int) -> int:
        row = self._row_of.setdefault(customer, len(self.customers))
        if row == len(self.customers):
            self.customers.append(customer)
            self.partition.append(partition)
        return row


def onboarding(job: Work, loaded: Loaded, row: int) -> bool:
    """An import touched the customer, and nobody has looked since."""
    return row in job.imported or loaded.due_at[row] == AFTER_BACKFILL


def now_of(turn: PartitionTurn) -> datetime:
    """Business time of an assessment: without one, nobody of the partition is assessed."""
    if turn.now is None:
        raise AssertionError("assessed at no time")
    return turn.now
