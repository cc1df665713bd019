"""The customers of one turn, and what is known of each before the arithmetic."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.ports import EventRows, PartitionTurn

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

AFTER_BACKFILL: Final = 0.0
"""A timer of whom an import touched (Unix seconds): due as soon as it has ended, and that look is
the first."""

AT_NEXT_TICK: Final = 1.0
"""A timer of whom live events touched between ticks: due at the next one."""


class Work:
    """The customers of one turn: those touched by events and those whose timer is due."""

    def __init__(
        self, events: EventRows, turns: list[PartitionTurn], due: list[tuple[str, int]]
    ) -> None:
        self.events = events
        self.turns = {t.tp[1]: t for t in turns}
        row_of: dict[str, int] = {}
        self.event_rows = _rows([row_of.setdefault(c, len(row_of)) for c in events.customer])
        self.touched = len(row_of)
        """The first so many customers were touched by events."""
        self.due_rows = _rows([row_of.setdefault(c, len(row_of)) for c, _ in due])
        self.customers = list(row_of)
        # Rows are numbered as they are met first, which `unique` tells in their order.
        met = np.unique(np.concatenate((self.event_rows, self.due_rows)), return_index=True)[1]
        homes = [record.partition for record in events.record] + [home for _, home in due]
        self.partition: list[int] = _rows(homes)[met].tolist()
        self._homes, self._home = np.unique(_rows(self.partition), return_inverse=True)
        live = np.array(events.live, np.bool_)
        self.live = self._any(self.event_rows[live])
        """bool[n]: whom a live event touched in this turn."""
        self.imported = self._any(self.event_rows[~live])
        """bool[n]: whom a backfill touched in this turn."""
        self.due = self._any(self.due_rows)
        """bool[n]: whose timer fired."""
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


def onboarding(imported: Flags, due_at: Floats) -> Flags:
    """bool[n]: an import touched the customer, and nobody has looked since."""
    return np.asarray(imported | (due_at == AFTER_BACKFILL))


def _rows(values: list[int]) -> Ints:
    return np.array(values, np.int64)
