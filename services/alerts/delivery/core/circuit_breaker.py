"""A circuit breaker: after many failures it pauses an endpoint, then lets one request try it.

This spares a receiver that is down, and our own connections. A breaker is a value per endpoint and
process; it never waits or reads a clock. The thresholds are those of Convoy's breaker.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

WINDOW: Final = timedelta(minutes=5)
"""Window over which requests are counted."""
STEP: Final = timedelta(seconds=30)
"""Span that is dropped at once: a tenth of the window, so that ten counters are enough."""
REQUESTS_MIN: Final = 10
"""Least requests for a judgement: fewer are no evidence about a receiver."""
FAILURES_SHARE: Final = 0.7
"""Share of failures from which on the breaker opens."""
OPEN: Final = timedelta(seconds=30)
"""How long the endpoint is paused before one request tries it."""

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """Counts of the last five minutes, and the end of a pause."""

    steps: tuple[tuple[datetime, int, int], ...] = ()
    """(begin, requests, failures), oldest first."""
    open_until: datetime | None = None
    """Sending is paused until then; None: closed."""

    def state(self, now: datetime) -> State:
        """Return the state; `half_open`: one request may try the endpoint."""
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half_open"

    def record(self, now: datetime, *, ok: bool) -> "Breaker":
        """Return the breaker after a request that ended at `now`."""
        if self.open_until is not None:
            # A success, of the probe or of an earlier request, shows that the receiver is up.
            return Breaker() if ok else replace(self, open_until=now + OPEN)
        steps = [s for s in self.steps if now - s[0] < WINDOW]
        if steps and now - steps[-1][0] < STEP:
            begin, requests, failures = steps.pop()
        else:
            begin, requests, failures = now, 0, 0
        steps.append((begin, requests + 1, failures + (not ok)))
        requests, failures = sum(s[1] for s in steps), sum(s[2] for s in steps)
        trips = requests >= REQUESTS_MIN and failures >= FAILURES_SHARE * requests
        return Breaker(tuple(steps), now + OPEN if trips else None)
