"""Detects sources that stopped delivering: their customers are not silent, only unobserved.

The usual deliveries of each source of purchases are kept with the offset of each partition, as
plain numbers. A source counts as stopped once so many purchases are missing that chance is no
explanation, and for longer than its usual pauses. This module never reads a customer's state.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from services.scoring.core.features.events import DAY_S

SOURCES_MAX: Final = 16
"""Sources kept per partition: those that delivered last. A company has a handful."""
RATE_LIFE_S: Final = 14 * DAY_S
"""Half-life of the usual rate: two weeks, so that a weekend counts for little."""
PAUSE_LIFE_S: Final = 28 * DAY_S
"""Half-life of the longest usual pause: it covers four weekends."""
MISSING_MIN: Final = 20.0
"""Purchases that must be missing: at the usual rate, chance gives none once in 5e8."""
RATE_MIN: Final = 5.0
"""Purchases per day and partition below which a source is a handful of customers: if they all
stay away, the silence is theirs and not the source's."""
PAUSES: Final = 2.0
"""A stop lasts at least twice as long as the longest usual pause (a night, a weekend), ..."""
STOP_S_MIN: Final = 0.25 * DAY_S
"""... and a quarter of a day: upstream jobs are late."""
KNOWN_S_MIN: Final = 7 * DAY_S
"""A source is known after a week, which includes a weekend."""
LN2: Final = 0.6931471805599453

Known = Mapping[str, list[float]]
"""Source -> [purchases a day, longest usual pause in s, newest and first purchase in Unix s]."""


def observe(known: Known, purchases: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    """Update what is known by live purchases, (source, Unix seconds UTC) in any order.

    The rate is an exponentially decayed count; late purchases count but move no time back.
    """
    found = {source: list(numbers) for source, numbers in known.items()}
    for source, at in sorted(purchases, key=lambda one: one[1]):
        rate, pause, last, first = found.pop(source, (0.0, 0.0, at, at))
        passed = max(at - last, 0.0)
        rate = rate * 2.0 ** (-passed / RATE_LIFE_S) + LN2 * DAY_S / RATE_LIFE_S
        pause = max(passed, pause * 2.0 ** (-passed / PAUSE_LIFE_S))
        found[source] = [rate, pause, max(last, at), first]
    return dict(list(found.items())[-SOURCES_MAX:])


def stopped(known: Known, now: float) -> list[str]:
    """Return the sources with missing purchases at `now` (Unix seconds UTC)."""
    return [
        source
        for source, (rate, pause, last, first) in known.items()
        if last - first >= KNOWN_S_MIN
        and rate >= RATE_MIN
        and now - last >= max(STOP_S_MIN, PAUSES * pause)
        and rate * (now - last) / DAY_S >= MISSING_MIN
    ]
