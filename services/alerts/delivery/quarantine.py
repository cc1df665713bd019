"""Quarantine: sends deliveries that may have ended processes alone, and finally not any more.

A process that dies leaves up to some hundreds of leases, of which one may be the cause. A lease
that ran out once is no evidence (a service is killed now and then); from the second in a row on,
the delivery is sent while nothing else is under way. That is recorded before, so that three more
deaths are attributed to it and to nothing else.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.alerts.delivery.ports import (
    ALONE_FROM,
    Attempted,
    Leased,
)

DEATHS_MAX: Final = 3
"""Processes that may end while they send a delivery alone."""

QUARANTINED: Final = (
    f"quarantined: {DEATHS_MAX} processes in a row ended while they sent this alone; "
    "send it again once the fault is mended"
)


@dataclass(frozen=True, slots=True)
class SortedLeases:
    """Claimed deliveries, sorted by how they are to be handled."""

    usual: list[Leased] = field(default_factory=list)
    later: list[Leased] = field(default_factory=list)
    """To be sent alone, after the present one: they go back to the queue."""
    fatal: list[Leased] = field(default_factory=list)


@dataclass(slots=True)
class DeliveryQuarantine:
    """The one delivery of this process that is to be sent alone. True while there is one."""

    waiting: Leased | None = None
    _task: asyncio.Task[Attempted] | None = None

    def __bool__(self) -> bool:
        return self.waiting is not None or self._task is not None

    def sift(self, claimed: Sequence[Leased]) -> SortedLeases:
        """Sort claimed deliveries; hold the first that is to be sent alone, unless one is held."""
        sorted_leases = SortedLeases()
        for delivery in claimed:
            if delivery.lost < ALONE_FROM:
                sorted_leases.usual.append(delivery)
            elif delivery.lost >= ALONE_FROM + DEATHS_MAX:
                sorted_leases.fatal.append(delivery)
            elif self:
                sorted_leases.later.append(delivery)
            else:
                self.waiting = delivery
        return sorted_leases

    def begin(self, task: asyncio.Task[Attempted]) -> None:
        """Record that the held delivery is under way."""
        self.waiting, self._task = None, task

    def ended(self, task: asyncio.Task[Attempted]) -> None:
        """Record that an attempt has ended; it may be another delivery's."""
        if task is self._task:
            self._task = None

    def given_back(self) -> list[Leased]:
        """Return the held delivery that has not begun, as the process is to end."""
        waiting, self.waiting = self.waiting, None
        return [] if waiting is None else [waiting]
