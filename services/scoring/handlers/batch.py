"""The customers of one turn and of each of its steps, and what is known of each before the
arithmetic.

A turn of a replay may pass several ticks. Its customers are read and written once; in between,
each step assesses those whom its events touched or whose timer its tick finds due.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.scoring.ports import Due, EventRows, PartitionBatch

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


class BatchStep:
    """The customers of one step: those touched by events and those whose timer is due."""

    def __init__(
        self,
        events: EventRows,
        turns: Sequence[PartitionBatch],
        customers: Sequence[str],
        partition: Ints,
        event_rows: Ints,
        touched: int,
        due: Flags,
    ) -> None:
        self.events = events
        self.turns = {t.tp[1]: t for t in turns}
        self.customers = customers
        self.partition: list[int] = partition.tolist()
        self.event_rows = event_rows
        """Of each event, the row of its customer."""
        self.touched = touched
        """The first so many customers were touched by events."""
        self.due = due
        """bool[n]: whose timer fired."""
        self._homes, self._home = np.unique(partition, return_inverse=True)
        live = np.array(events.live, np.bool_)
        self.live = self._any(event_rows[live])
        """bool[n]: whom a live event touched in this step."""
        self.imported = self._any(event_rows[~live])
        """bool[n]: whom a backfill touched in this step."""
        self.now = self.of_turn(lambda t: np.nan if t.now is None else t.now.timestamp())
        """float64[n], Unix seconds UTC: when they are assessed; NaN: not now."""
        self.sweeping = self.of_turn(lambda t: t.sweeping) > 0
        """bool[n]: timers of their partition may fire now."""

    def __len__(self) -> int:
        return len(self.customers)

    def of_turn(self, value: Callable[[PartitionBatch], float]) -> Floats:
        """float64[n]: a number of each customer's partition."""
        # Partitions without a step are met where one customer has events in several.
        turns = [self.turns.get(home) or PartitionBatch(("", home), 0, None, {})
                 for home in self._homes.tolist()]  # fmt: skip
        return np.array([value(turn) for turn in turns], np.float64)[self._home]

    def _any(self, rows: Ints) -> Flags:
        flags = np.zeros(len(self.customers), np.bool_)
        flags[rows] = True
        return flags


class BatchCustomers:
    """All customers of one turn: those touched by events in any step come first, then those who
    were found due by the last."""

    def __init__(self, events: EventRows, steps: Sequence[list[PartitionBatch]], due: Due) -> None:
        self.events = events
        self.steps = steps
        row_of: dict[str, int] = {}
        self.event_rows = _rows([row_of.setdefault(c, len(row_of)) for c in events.customer])
        self.touched = len(row_of)
        """The first so many customers were touched by events."""
        if self.touched:
            due_rows = _rows([row_of.setdefault(c, len(row_of)) for c in due.customers])
            self.customers = list(row_of)
        else:  # each is due once
            due_rows, self.customers = np.arange(len(due)), due.customers
        # Rows are numbered as they are met first, which `unique` tells in their order.
        met = np.unique(np.concatenate((self.event_rows, due_rows)), return_index=True)[1]
        homes = _rows([record.partition for record in events.record])
        self.partition = np.concatenate((homes, due.partition))[met]
        """int64[n]: under which each is written."""
        self.due_at = np.full(len(self), np.nan)
        """float64[n], Unix seconds UTC: the timer of whom was found due; NaN: not looked for."""
        self.due_at[due_rows] = due.at
        self._step = _rows(events.step)

    def __len__(self) -> int:
        return len(self.customers)

    @property
    def partitions(self) -> set[int]:
        """Of all customers."""
        return set(self.partition.tolist())

    @property
    def timed(self) -> Flags:
        """bool[n]: whose partition has a time for assessments in one of the steps."""
        homes = {t.tp[1] for step in self.steps for t in step if t.now is not None}
        return np.isin(self.partition, _rows([*homes]))

    def work(self, step: int, due_at: Floats) -> tuple[Ints, BatchStep]:
        """Those of a step, as rows of the turn and as work; `due_at` are the timers of all (Unix
        seconds UTC) as the step before it has left them."""
        turns = self.steps[step]
        at = np.flatnonzero(self._step == step)
        met, first = np.unique(self.event_rows[at], return_index=True)
        touched = met[np.argsort(first)]
        nows = {t.tp[1]: t.now.timestamp() for t in turns if t.sweeping and t.now is not None}
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
            turns,
            [self.customers[row] for row in rows.tolist()],
            self.partition[rows],
            place[self.event_rows[at]],
            len(touched),
            due[rows],
        )

    def whole(self) -> BatchStep:
        """All of them as the work of the only step."""
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
