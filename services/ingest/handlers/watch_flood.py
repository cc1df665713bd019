"""Use case: a flood of refusals stops the intake until an operator decides.

The stop is stored in the database, so that a restart (by hand or by a supervisor) does not end it.
An open stop holds every replica that reads it: an incident upstream concerns them all.
"""

from collections.abc import Iterable

import structlog

from services.ingest.core.flood import RECORDS, FloodWindow
from services.ingest.ports import IntakeStops
from shared.runtime.clock import Clock

log = structlog.get_logger(__name__)


class FloodWatch:
    """Stops one consumer loop in a flood; each loop has one."""

    def __init__(self, stops: IntakeStops, share_max: float, clock: Clock) -> None:
        self._stops = stops
        self._window = FloodWindow(share_max)
        self._clock = clock
        self._noted = True
        self.reason: str | None = "not known yet whether an operator has to decide first"
        """Why the intake is stopped; None while it runs."""

    def note(self, refused: Iterable[bool]) -> None:
        """Add verdicts on handled records, in order; stops the intake when they are a flood."""
        self._window.note(refused)
        if self._window.flooded:
            self.reason = (
                f"{self._window.share:.0%} of the last {RECORDS:,} records were refused: "
                "mend the source, then run `python -m services.ingest intake resume`"
            )
            self._noted = False
            log.error("intake stopped", reason=self.reason)

    async def blocked(self) -> bool:
        """Return whether the intake is stopped; reads the database only while it is. Raises
        Transient."""
        if self.reason is None:
            return False
        if not self._noted:
            await self._stops.open(self.reason, self._clock.now())
            self._noted = True
        self.reason = await self._stops.reason()
        if self.reason is None:
            self._window.clear()
            log.info("intake runs")
        return self.reason is not None
