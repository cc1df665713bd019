"""Selects the customers that a batch sweeps: all due customers except those that cause a fault.

Where a batch raises and succeeds without its sweep, the due customers are swept one by one, each in
a batch of its own; so are customers on which processes ended (`ItemIsolation`). A customer that is
set aside is no longer swept, and is assessed only when an event arrives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.scoring.ports import Due, PartitionBatch, Store
from shared.postgres.engine import UnitOfWork
from shared.runtime.isolation import ItemIsolation

KIND: Final = "sweep"
"""Kind of isolated items: customers."""


@dataclass(frozen=True, slots=True)
class DueCustomers:
    """Customers that a batch may sweep."""

    only: Sequence[str] = ()
    """Sweep one of these customers and no other; empty: no restriction."""
    none: bool = False


ALL_DUE, NONE_DUE = DueCustomers(), DueCustomers(none=True)


@dataclass(slots=True)
class SilenceSweep:
    """Sweep of one handler of the activity topic."""

    store: Store
    isolation: ItemIsolation
    customers_max: int
    more: bool = False
    """The last sweep left some due customers."""
    last: Sequence[str] = ()
    """Due customers of the current batch."""
    _singles: dict[str, None] = field(default_factory=dict)
    """Customers of a sweep that raised: at least one of them causes the fault."""

    @property
    def waiting(self) -> list[str]:
        """Customers to be swept alone."""
        return [*dict.fromkeys((*self.isolation.waiting(KIND), *self._singles))]

    async def due(
        self, work: UnitOfWork, parts: Sequence[PartitionBatch], chosen: DueCustomers
    ) -> Due:
        """Returns the customers that are due in the partitions with a time for assessments.

        While a customer that is to be swept alone is due, `more` is true: the tick is not done."""
        self.last = ()
        if chosen.none:
            return replace(Due.none(), more=True)
        nows = {t.tp[1]: t.now for t in parts if t.sweeping and t.now is not None}
        if chosen.only:
            return replace(await self.store.due(work, nows, 1, only=chosen.only), more=True)
        avoid = [*self.isolation.avoided(KIND), *self._singles]
        due = await self.store.due(work, nows, self.customers_max, avoid=avoid)
        waiting = self.waiting
        if waiting and not due.more and len(await self.store.due(work, nows, 1, only=waiting)):
            due = replace(due, more=True)
        self.more, self.last = due.more, due.customers
        return due

    def suspect(self, customers: Sequence[str]) -> None:
        """Marks the customers of a sweep that raised: each is to be swept alone."""
        self._singles |= dict.fromkeys(customers)

    def swept(self, customer: str | None) -> None:
        """Removes a customer that was swept, or that failed and is recorded in `isolation`.

        None means that no waiting customer is due."""
        if customer is None:
            self._singles.clear()
        else:
            self._singles.pop(customer, None)
