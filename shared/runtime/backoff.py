"""Waits between retries: doubling, bounded, never giving up."""

from dataclasses import dataclass

FIRST_S = 0.1
"""A connection that was reset is usually back at once."""

LONGEST_S = 5.0
"""A dependency that comes back is noticed within this time."""


@dataclass(slots=True)
class Backoff:
    """Seconds to wait: 0.1, 0.2, ... up to 5; `reset` after a success."""

    _next_s: float = FIRST_S

    def next(self) -> float:
        """Return the wait before the next try, in seconds."""
        wait, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_S)
        return wait

    def reset(self) -> None:
        """Start again with short waits, after a success."""
        self._next_s = FIRST_S
