"""Deliveries that processes died of, perhaps: each is sent alone, and in the end not any more.

What it is for: a process that dies leaves up to some hundreds of leases, of which one may be what
killed it. A lease that ran out once says nothing (a service is killed now and then); from the
second in a row on, the delivery is sent while nothing else is under way, and that is noted before,
so that three more deaths are put down to it and to nothing else.
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
"""Processes that may end while they send it alone."""

QUARANTINED: Final = (
    f"quarantined: {DEATHS_MAX} processes in a row ended while they sent this alone; "
    "send it again once the fault is mended"
)


@dataclass(frozen=True, slots=True)
class SortedLeases:
    """Claimed deliveries by what is to be done with them."""

    usual: list[Leased] = field(default_factory=list)
    later: list[Leased] = field(default_factory=list)
    """To be sent alone, after the one that is held: they go back to the queue."""
    fatal: list[Leased] = field(default_factory=list)


@dataclass(slots=True)
class DeliveryQuarantine:
    """The one delivery of this process that is to be sent alone. True while there is one."""

    waiting: Leased | None = None
    _task: asyncio.Task[Attempted] | None = None

    def __bool__(self) -> bool:
        return self.waiting is not None or self._task is not None

    def sift(self, claimed: Sequence[Leased]) -> SortedLeases:
        """Take the first that is to be alone, unless there is one."""
        sifted = SortedLeases()
        for message in claimed:
            if message.lost < ALONE_FROM:
                sifted.usual.append(message)
            elif message.lost >= ALONE_FROM + DEATHS_MAX:
                sifted.fatal.append(message)
            elif self:
                sifted.later.append(message)
            else:
                self.waiting = message
        return sifted

    def begin(self, task: asyncio.Task[Attempted]) -> None:
        """It is under way."""
        self.waiting, self._task = None, task

    def ended(self, task: asyncio.Task[Attempted]) -> None:
        """An attempt has ended, perhaps this one's."""
        if task is self._task:
            self._task = None

    def given_back(self) -> list[Leased]:
        """The one that has not begun, as the process is to end."""
        waiting, self.waiting = self.waiting, None
        return [] if waiting is None else [waiting]
