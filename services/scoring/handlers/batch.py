"""Customers of one batch and of each of its steps, with the inputs of the arithmetic.

A batch of a replay may pass several ticks. Its customers are read and written once; in between,
each step assesses the customers that its events touched and those with a timer due at its tick.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.scoring.ports import Due, EventRows, PartitionBatch

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


class BatchStep:
    """Customers of one step: first those touched by events, then those with a due timer."""

    def __init__(
        self,
        events: EventRows,
        parts: Sequence[PartitionBatch],
        customers: Sequence[str],
        partition: Ints,
        event_rows: Ints,
        touched: int,
        due: Flags,
    ) -> None:
        self.events = events
        self.parts = {t.tp[1]: t for t in parts}
        self.customers = customers
        self.partition: list[int] = partition.tolist()
        self.event_rows = event_rows
        """int64, per event: the row of its customer."""
        self.touched = touched
        """Number of customers touched by events; they come first."""
        self.due = due
        """bool[n]: the customer's timer fired."""
        self._homes, self._home = np.unique(partition, return_inverse=True)
        live = np.array(events.live, np.bool_)
        self.live = self._any(event_rows[live])
        """bool[n]: a live event touched the customer in this step."""
        self.imported = self._any(event_rows[~live])
        """bool[n]: an event of a backfill touched the customer in this step."""
        self.now = self.of_part(lambda t: np.nan if t.now is None else t.now.timestamp())
        """float64[n], Unix seconds UTC: when each customer is assessed; NaN: not now."""
        self.sweeping = self.of_part(lambda t: t.sweeping) > 0
        """bool[n]: timers of the customer's partition may fire now."""

    def __len__(self) -> int:
        return len(self.customers)

    def of_part(self, value: Callable[[PartitionBatch], float]) -> Floats:
        """Returns float64[n]: a number of each customer's partition."""
        # A partition without a step occurs where a customer has events in several partitions.
        parts = [self.parts.get(home) or PartitionBatch(("", home), 0, None, {})
                 for home in self._homes.tolist()]  # fmt: skip
        return np.array([value(part) for part in parts], np.float64)[self._home]

    def _any(self, rows: Ints) -> Flags:
        flags = np.zeros(len(self.customers), np.bool_)
        flags[rows] = True
        return flags


class BatchCustomers:
    """All customers of one batch: first those touched by events in any step, then the due ones.

    The due customers are those found due by the last step."""

    def __init__(self, events: EventRows, steps: Sequence[list[PartitionBatch]], due: Due) -> None:
        self.events = events
        self.steps = steps
        row_of: dict[str, int] = {}
        self.event_rows = _rows([row_of.setdefault(c, len(row_of)) for c in events.customer])
        self.touched = len(row_of)
        """Number of customers touched by events; they come first."""
        if self.touched:
            due_rows = _rows([row_of.setdefault(c, len(row_of)) for c in due.customers])
            self.customers = list(row_of)
        else:  # each is due once
            due_rows, self.customers = np.arange(len(due)), due.customers
        # Rows are numbered by first occurrence, so `unique` returns the first index of each row.
        met = np.unique(np.concatenate((self.event_rows, due_rows)), return_index=True)[1]
        homes = _rows([record.partition for record in events.record])
        self.partition = np.concatenate((homes, due.partition))[met]
        """int64[n]: the partition under which each customer is written."""
        self.due_at = np.full(len(self), np.nan)
        """float64[n], Unix seconds UTC: timers of the due customers; NaN: timer not read."""
        self.due_at[due_rows] = due.at
        self._step = _rows(events.step)

    def __len__(self) -> int:
        return len(self.customers)

    @property
    def partitions(self) -> set[int]:
        """Partitions of all customers."""
        return set(self.partition.tolist())

    @property
    def timed(self) -> Flags:
        """bool[n]: the customer's partition has a time for assessments in one of the steps."""
        homes = {t.tp[1] for step in self.steps for t in step if t.now is not None}
        return np.isin(self.partition, _rows([*homes]))

    def of_step(self, step: int, due_at: Floats) -> tuple[Ints, BatchStep]:
        """Returns the customers of a step, as rows of the batch and as a `BatchStep`.

        `due_at` are the timers of all customers (Unix seconds UTC) after the step before it."""
        parts = self.steps[step]
        at = np.flatnonzero(self._step == step)
        met, first = np.unique(self.event_rows[at], return_index=True)
        touched = met[np.argsort(first)]
        nows = {t.tp[1]: t.now.timestamp() for t in parts if t.sweeping and t.now is not None}
        homes, home = np.unique(self.partition, return_inverse=True)
        now = np.array([nows.get(one, np.nan) for one in homes.tolist()])[home]
        due = due_at <= now  # never where either is NaN
        also = due.copy()
        also[touched] = False
        rows = np.concatenate((touched, np.flatnonzero(also)))
        place = np.zeros(len(self), np.int64)
        place[rows] = np.arange(len(rows))
        return rows, BatchStep(
            self.events.select(at.tolist()),
            parts,
            [self.customers[row] for row in rows.tolist()],
            self.partition[rows],
            place[self.event_rows[at]],
            len(touched),
            due[rows],
        )

    def whole(self) -> BatchStep:
        """Returns all customers as the only step."""
        return BatchStep(
            self.events,
            self.steps[0],
            self.customers,
            self.partition,
            self.event_rows,
            self.touched,
            ~np.isnan(self.due_at),
        )


def _rows(values: list[int]) -> Ints:
    return np.array(values, np.int64)
