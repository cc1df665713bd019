"""Whom a turn sweeps: everybody who is due, but for customers who bring out a fault.

Where a batch raises and succeeds without its sweep, the due customers are swept one by one, each in
a batch of its own, and so are those on which processes ended (`ItemIsolation`). A customer that is
set aside is swept no more, and assessed only when an event comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.scoring.ports import Due, PartitionBatch, Store
from shared.postgres.engine import UnitOfWork
from shared.runtime.isolation import ItemIsolation

KIND: Final = "sweep"
"""Of these items: customers."""


@dataclass(frozen=True, slots=True)
class DueCustomers:
    """Whom a turn may sweep."""

    only: Sequence[str] = ()
    """One of these, and nobody else; empty: anybody."""
    nobody: bool = False


EVERYBODY, NOBODY = DueCustomers(), DueCustomers(nobody=True)


@dataclass(slots=True)
class SilenceSweep:
    """One for each handler of the activity topic."""

    store: Store
    careful: ItemIsolation
    customers_max: int
    more: bool = False
    """The last sweep left some."""
    last: Sequence[str] = ()
    """Whom the turn under way has found due."""
    _singles: dict[str, None] = field(default_factory=dict)
    """Of a sweep that raised: one of them brings it out."""

    @property
    def waiting(self) -> list[str]:
        """Customers who are to be swept alone."""
        return [*dict.fromkeys((*self.careful.waiting(KIND), *self._singles))]

    async def due(
        self, work: UnitOfWork, steps: Sequence[Sequence[PartitionBatch]], whom: DueCustomers
    ) -> Due:
        """Whom the last sweep of each partition finds due, and so all those before it. While
        somebody is left who is to be swept alone there are `more`: the tick is not done."""
        self.last = ()
        if whom.nobody:
            return replace(Due.nobody(), more=True)
        nows = {t.tp[1]: t.now for step in steps for t in step if t.sweeping and t.now is not None}
        if whom.only:
            return replace(await self.store.due(work, nows, 1, only=whom.only), more=True)
        avoid = [*self.careful.avoided(KIND), *self._singles]
        due = await self.store.due(work, nows, self.customers_max, avoid=avoid)
        waiting = self.waiting
        if waiting and not due.more and len(await self.store.due(work, nows, 1, only=waiting)):
            due = replace(due, more=True)
        self.more, self.last = due.more, due.customers
        return due

    def suspect(self, customers: Sequence[str]) -> None:
        """A sweep of these raised: each is to be swept alone."""
        self._singles |= dict.fromkeys(customers)

    def swept(self, customer: str | None) -> None:
        """This one was, or failed and is known to `careful`; None: none of those waiting is due."""
        if customer is None:
            self._singles.clear()
        else:
            self._singles.pop(customer, None)
