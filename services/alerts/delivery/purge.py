"""Deletes deliveries that ended long ago, in small steps.

(The log of attempts is dropped by day.)
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

AT_ONCE_MAX = 1_000
"""Rows per transaction: some milliseconds, so that no other transaction waits for it."""

EVERY_S = 60.0
"""Seconds between steps: 1.4 million deliveries a day, more than any other part can raise."""

NAME = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """The loop. `forget(before, most)` deletes some and returns how many."""

    forget: Callable[[datetime, int], Awaitable[int]]
    keep: timedelta
    clock: Clock
    health: Health

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self._once, stop, NAME, EVERY_S, health=self.health)

    async def _once(self) -> None:
        await self.forget(self.clock.now() - self.keep, AT_ONCE_MAX)
