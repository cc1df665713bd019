"""Reports imports of history for as long as they are under way.

The sweep of their partitions rests until the end marker arrives. A missing marker would prevent
every warning of a silence, so this module keeps reporting the import, in the log and beside
`/readyz`, with the command that ends it. It never ends an import by itself: an import may pause.
"""

from collections.abc import Iterable
from typing import Final

import structlog

from services.scoring.core.imports import Resting, described, resting
from shared.postgres.ledger import Claim
from shared.runtime.clock import Clock

REPEAT_S: Final = 3_600.0
"""Seconds between two log messages about an import that is still under way."""
NOTED_MAX: Final = 3
"""Imports that a note names: more at once are a fault of the sender, and a count is enough."""

HOW_TO_END: Final = (
    "if it is over, send its end marker, or run `python -m services.scoring imports end ID`"
)

log = structlog.get_logger(__name__)


class ImportWatch:
    """Reports the imports in the partitions that one process owns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._resting: list[Resting] = []
        self._logged_at: dict[str, float] = {}

    def __call__(self, claims: Iterable[Claim]) -> None:
        """Checks the owned partitions; called several times a minute."""
        self._resting = resting((claim.partition, claim.progress) for claim in claims)
        now = self._clock.monotonic()
        here = {one.name for one in self._resting}
        for one in self._resting:
            newest = None if one.newest is None else one.newest.isoformat()
            facts = {"import_id": one.name, "partitions": one.partitions, "newest": newest}
            if one.name not in self._logged_at:
                log.info("an import is under way: the sweep rests", **facts)
            elif now - self._logged_at[one.name] >= REPEAT_S:
                log.warning(
                    "an import is still under way: the sweep rests", **facts, mend=HOW_TO_END
                )
            else:
                continue
            self._logged_at[one.name] = now
        for name in sorted(set(self._logged_at) - here):
            del self._logged_at[name]
            log.info("no partition rests for this import here any more", import_id=name)

    async def note(self) -> str | None:
        """Returns the note for `/readyz`: resting partitions and how to end the import, or None."""
        if not self._resting:
            return None
        shown = [described(one) for one in self._resting[:NOTED_MAX]]
        more = len(self._resting) - len(shown)
        return "; ".join([*shown, *([f"{more} more"] if more else []), HOW_TO_END])
