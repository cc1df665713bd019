"""Distinguishes single bad messages from an incident upstream by the share of refused records.

A bad record becomes a dead letter and never delays the next one. When nearly every record is bad,
going on would only fill the dead-letter topic with what the source must mend.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

RECORDS = 1_000
"""Length of the window in records: a few seconds of a small source, so that a burst of one
customer's bad records is not a flood."""

SHARE_MAX = 0.9
"""Share of refused records from which the window is a flood: a source with one bad event type stays
below it."""


@dataclass(slots=True)
class FloodWindow:
    """The verdicts on the last `RECORDS` records. `share_max` above 1: there is never a flood."""

    share_max: float = SHARE_MAX
    _refused: deque[bool] = field(default_factory=lambda: deque(maxlen=RECORDS))

    def note(self, refused: Iterable[bool]) -> None:
        """Add verdicts, oldest first."""
        self._refused.extend(refused)

    @property
    def share(self) -> float:
        """Share of refusals, 0 while there are fewer than `RECORDS` verdicts."""
        return sum(self._refused) / RECORDS if len(self._refused) == RECORDS else 0.0

    @property
    def flooded(self) -> bool:
        """True when the share reached its limit."""
        return self.share >= self.share_max

    def clear(self) -> None:
        """Empty the window, after an operator ended the stop."""
        self._refused.clear()
