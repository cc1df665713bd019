"""Interface of a history for training, whether it is in memory or on disk in pieces."""

from collections.abc import Iterator
from typing import Protocol

from services.scoring.training.data.event_table import EventTable
from shared.kernel.arrays import Floats


class History(Protocol):
    """Every event of every customer; all events of a customer are in exactly one table."""

    @property
    def observed_until(self) -> float:
        """Unix seconds, UTC: everything before it is known."""
        ...

    def tables(self) -> Iterator[EventTable]:
        """Yield the pieces, one at a time; together they hold all customers."""
        ...

    def first_purchases(self) -> Floats:
        """Return each customer's first purchase time, unix seconds; +inf without one.

        Customers are in any order.
        """
        ...

    def fingerprint(self, until: float) -> str:
        """Return 16 hex digits over all events before `until`: the same in memory and on disk."""
        ...
