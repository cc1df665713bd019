"""Customers of one batch, with the inputs of the arithmetic."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from services.scoring.ports import Due, EventRows, PartitionBatch
from shared.kernel.arrays import Flags, Floats, Ints
from shared.postgres.outbox import Message


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Customers of a batch who do not want to be assessed."""

    customers: Collection[str] = frozenset()
    fresh: Collection[str] = ()
    """Those who refuse from this batch on: what was known of them has changed."""
    messages: Sequence[Message] = ()


class BatchCustomers:
    """Customers of one batch: first those touched by events, then those with a due timer.

    `parts` contains every partition of these customers."""

    def __init__(self, events: EventRows, parts: Sequence[PartitionBatch], due: Due) -> None:
        self.events = events
        self.parts = {t.tp[1]: t for t in parts}
        row_of: dict[str, int] = {}
        self.event_rows = _rows([row_of.setdefault(c, len(row_of)) for c in events.customer])
        """int64, per event: the row of its customer."""
        self.touched = len(row_of)
        """Number of customers touched by events; they come first."""
        if self.touched:
            due_rows = _rows([row_of.setdefault(c, len(row_of)) for c in due.customers])
            self.ids = list(row_of)
        else:  # each is due once
            due_rows, self.ids = np.arange(len(due)), due.customers
        # Rows are numbered by first occurrence, so `unique` returns the first index of each row.
        met = np.unique(np.concatenate((self.event_rows, due_rows)), return_index=True)[1]
        homes = _rows([record.partition for record in events.record])
        partition = np.concatenate((homes, due.partition))[met]
        self.partition: list[int] = partition.tolist()
        """The partition under which each customer is written."""
        homes, self._home = np.unique(partition, return_inverse=True)
        self.homes: list[int] = homes.tolist()
        """Partitions of all customers, each once."""
        self.due = self._any(due_rows)
        """bool[n]: the customer's timer fired."""
        self.due_at = np.full(len(self), np.nan)
        """float64[n], Unix seconds UTC: timers of the due customers; NaN: timer not read."""
        self.due_at[due_rows] = due.at
        live = np.array(events.live, np.bool_)
        self.live = self._any(self.event_rows[live])
        """bool[n]: a live event touched the customer."""
        self.imported = self._any(self.event_rows[~live])
        """bool[n]: an event of a backfill touched the customer."""
        self.now = self.of_part(lambda t: np.nan if t.now is None else t.now.timestamp())
        """float64[n], Unix seconds UTC: when each customer is assessed; NaN: not now."""
        self.sweeping = self.of_part(lambda t: t.sweeping) > 0
        """bool[n]: timers of the customer's partition may fire now."""
        self.left_out = np.zeros(len(self), np.bool_)
        """bool[n]: the customer does not want to be assessed."""

    def __len__(self) -> int:
        return len(self.ids)

    def leave_out(self, customers: Collection[str]) -> None:
        """Mark these customers as not to be assessed."""
        if customers:
            flags = [customer in customers for customer in self.ids]
            self.left_out = np.array(flags, np.bool_)

    def of_part(self, value: Callable[[PartitionBatch], float]) -> Floats:
        """Returns float64[n]: a number of each customer's partition."""
        values = [value(self.parts[home]) for home in self.homes]
        return np.array(values, np.float64)[self._home]

    def _any(self, rows: Ints) -> Flags:
        flags = np.zeros(len(self), np.bool_)
        flags[rows] = True
        return flags


def _rows(values: list[int]) -> Ints:
    return np.array(values, np.int64)
