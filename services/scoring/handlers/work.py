"""The customers of one turn, and what is known of each before the arithmetic."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.scoring.ports import Due, EventRows, PartitionTurn

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Work:
    """The customers of one turn: those touched by events and those whose timer is due."""

    def __init__(self, events: EventRows, turns: list[PartitionTurn], due: Due) -> None:
        self.events = events
        self.turns = {t.tp[1]: t for t in turns}
        row_of: dict[str, int] = {}
        self.event_rows = _rows([row_of.setdefault(c, len(row_of)) for c in events.customer])
        self.touched = len(row_of)
        """The first so many customers were touched by events."""
        if self.touched:
            self.due_rows = _rows([row_of.setdefault(c, len(row_of)) for c in due.customers])
            self.customers = list(row_of)
        else:  # each is due once
            self.due_rows, self.customers = np.arange(len(due)), due.customers
        # Rows are numbered as they are met first, which `unique` tells in their order.
        met = np.unique(np.concatenate((self.event_rows, self.due_rows)), return_index=True)[1]
        homes = _rows([record.partition for record in events.record])
        self.partition: list[int] = np.concatenate((homes, due.partition))[met].tolist()
        self._homes, self._home = np.unique(_rows(self.partition), return_inverse=True)
        live = np.array(events.live, np.bool_)
        self.live = self._any(self.event_rows[live])
        """bool[n]: whom a live event touched in this turn."""
        self.imported = self._any(self.event_rows[~live])
        """bool[n]: whom a backfill touched in this turn."""
        self.due = self._any(self.due_rows)
        """bool[n]: whose timer fired."""
        self.due_at = np.full(len(self), np.nan)
        """float64[n], Unix seconds UTC: that timer; NaN: not looked for."""
        self.due_at[self.due_rows] = due.at
        self.now = self.of_turn(lambda t: np.nan if t.now is None else t.now.timestamp())
        """float64[n], Unix seconds UTC: when they are assessed; NaN: not now."""
        self.sweeping = self.of_turn(lambda t: t.sweeping) > 0
        """bool[n]: timers of their partition may fire now."""

    def __len__(self) -> int:
        return len(self.customers)

    @property
    def partitions(self) -> set[int]:
        """Of all customers."""
        return set(self._homes.tolist())

    def of_turn(self, value: Callable[[PartitionTurn], float]) -> Floats:
        """float64[n]: a number of each customer's partition."""
        homes = np.array([value(self.turns[home]) for home in self._homes.tolist()], np.float64)
        return homes[self._home]

    def _any(self, rows: Ints) -> Flags:
        flags = np.zeros(len(self.customers), np.bool_)
        flags[rows] = True
        return flags


def _rows(values: list[int]) -> Ints:
    return np.array(values, np.int64)
