"""Judges the clocks of sources by how far the times of their events are from their arrival.

An event that arrives late shows little: it may have waited in a job or a queue. Times after the
arrival are a clock that is ahead, or a local time sent as UTC. Times that are behind by the same
amount, event after event, are a clock that is behind, or a local time again: what waits in a queue
does not wait equally long. Live events only; a history shows nothing about a clock.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

SOURCES_MAX: Final = 50
"""Sources that a process observes by name; a company has a handful. All others together are
`OTHER`."""
OTHER: Final = "other"
CANDIDATES_MAX: Final = 1_000
"""Sources counted until they are observed: a client that puts an order's number into `source` must
not take the places of the real ones."""
EVENTS_MIN: Final = 20
"""Events from which a source is observed, and its clock judged."""
SAMPLES: Final = 500
"""Newest events of a source that its median is computed from."""

AHEAD_S: Final = 60.0
"""Median from which a clock is ahead: machines that keep their time differ by less than a
second."""
FUTURE_SHARE: Final = 0.01
"""Share of events refused as future from which a clock is ahead: one in a hundred."""
BEHIND_S: Final = 600.0
"""Least median of a clock that is behind, ..."""
BEHIND_S_MAX: Final = 26 * 3600.0
"""... and the largest: time zones lie at most 26 hours apart. More is a history played as live."""
SPREAD_S: Final = 60.0
"""Seconds between the 10th and the 90th percentile below which a lag is steady."""


class Timing(NamedTuple):
    """The time of one live event (Unix seconds UTC), and how far it is after its arrival (s)."""

    source: str
    at_s: float
    ahead_s: float


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What was observed of one source since the report before."""

    source: str
    accepted: int
    future: int
    """Events refused because their time was too far after their arrival."""
    newest_s: float | None
    """Time of the newest event, Unix seconds UTC; None: none was accepted."""
    median_s: float | None
    """Median of the event's time minus its arrival, in seconds; negative: before it."""
    spread_s: float | None
    """Seconds between the 10th and the 90th percentile of it."""
    fault: str | None = None
    """Why the source's clock seems wrong, by its newest `SAMPLES` events; None: it does not."""


@dataclass(slots=True)
class _Observed:
    accepted: int = 0
    future: int = 0
    newest_s: float | None = None
    ahead_s: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    refused: deque[bool] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    """Of the newest events, whether each was refused as future."""

    def report(self, source: str) -> SourceReport:
        """Return the counts and empty them."""
        median, spread = _median_and_spread(self.ahead_s)
        future = sum(self.refused)
        fault = clock_fault(source, len(self.refused) - future, future, median, spread)
        found = SourceReport(
            source, self.accepted, self.future, self.newest_s, median, spread, fault
        )
        self.accepted = self.future = 0
        return found


class SourceClocks:
    """What one process has observed of its sources; `take` empties the counts."""

    def __init__(self) -> None:
        self._candidates: dict[str, int] = {}
        self._observed: dict[str, _Observed] = {OTHER: _Observed()}

    def accepted(self, timing: Timing) -> None:
        """Add a live event."""
        found = self._of(timing.source)
        found.accepted += 1
        found.refused.append(False)
        found.ahead_s.append(timing.ahead_s)
        if found.newest_s is None or timing.at_s > found.newest_s:
            found.newest_s = timing.at_s

    def refused(self, source: str) -> None:
        """Add an event that was refused because its time was too far after its arrival."""
        found = self._of(source)
        found.future += 1
        found.refused.append(True)

    def take(self) -> list[SourceReport]:
        """Return a report on every source with events since the last call."""
        seen = self._observed.items()
        return [one.report(source) for source, one in seen if one.accepted or one.future]

    def _of(self, source: str) -> _Observed:
        found = self._observed.get(source)
        if found is not None:
            return found
        if len(self._observed) <= SOURCES_MAX:
            count = self._candidates.pop(source, 0) + 1
            if count >= EVENTS_MIN:
                return self._observed.setdefault(source, _Observed())
            if len(self._candidates) >= CANDIDATES_MAX:
                del self._candidates[next(iter(self._candidates))]  # the one unseen for longest
            self._candidates[source] = count
        return self._observed[OTHER]


def clock_fault(
    source: str, accepted: int, future: int, median_s: float | None, spread_s: float | None
) -> str | None:
    """Returns why a source's clock seems wrong, for an operator; None where it does not.

    >>> clock_fault("till", 90, 10, -1.0, 2.0)
    '10% of its events are refused because they are dated after their arrival'
    >>> clock_fault("till", 90, 0, -28_801.0, 2.0)
    'its times are steadily 8:00:01 before the arrival: a clock behind, or a local time sent as UTC'
    """
    every = accepted + future
    if source == OTHER or every < EVENTS_MIN:
        return None
    if future >= FUTURE_SHARE * every:
        share = f"{future / every:.0%}"
        return f"{share} of its events are refused because they are dated after their arrival"
    if median_s is None or spread_s is None:
        return None
    if median_s >= AHEAD_S:
        return f"its times are {duration(median_s)} or more after the arrival: a clock ahead"
    if -BEHIND_S_MAX <= median_s <= -BEHIND_S and spread_s <= SPREAD_S:
        return (
            f"its times are steadily {duration(-median_s)} before the arrival: a clock behind, or "
            "a local time sent as UTC"
        )
    return None


def duration(seconds: float) -> str:
    """Returns a length of time as hours, minutes and seconds.

    >>> duration(28_800.4), duration(-61)
    ('8:00:00', '-0:01:01')
    """
    minutes, rest = divmod(abs(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{'-' if round(seconds) < 0 else ''}{hours:,}:{minutes:02}:{rest:02}"


def _median_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[last // 2], ordered[round(last * 0.9)] - ordered[round(last * 0.1)]
