"""Closures and announced absences do not count as silence."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.excluded_days import closures_of, paused_days
from services.scoring.core.risk.lapse import LapseClock, silences_of
from shared.kernel.errors import Invalid
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import purchases

NEVER = np.array([np.nan])


def _paused(
    silence: float, closures: list[tuple[float, float]], away: tuple[float, float] | None = None
) -> float:
    """Return the excluded days of a silence that ends on day 100; spans in days."""
    x, now = rows(recency_days=silence), np.array([100 * DAY_S])
    spans = tuple((a * DAY_S, b * DAY_S) for a, b in closures)
    begin, end = (NEVER, NEVER) if away is None else (np.array([at * DAY_S]) for at in away)
    return float(paused_days(x, now, spans, begin, end)[0])


@pytest.mark.parametrize(
    ("silence", "closures", "away", "paused"),
    [
        (20.0, [], None, 0.0),
        (20.0, [(85.0, 90.0)], None, 5.0),
        (20.0, [(70.0, 85.0)], None, 5.0),  # began before the last purchase
        (20.0, [(95.0, 120.0)], None, 5.0),  # goes on
        (20.0, [(10.0, 20.0), (120.0, 130.0)], None, 0.0),  # before and after it
        (20.0, [], (84.0, 94.0), 10.0),
        (20.0, [], (90.0, 400.0), 10.0),  # still away
        (20.0, [], (20.0, 30.0), 0.0),  # long over
        (20.0, [(85.0, 95.0)], (90.0, 98.0), 13.0),  # five days are both
        (np.nan, [(85.0, 90.0)], None, 0.0),  # a prospect
    ],
)
def test_days_that_do_not_count(
    silence: float,
    closures: list[tuple[float, float]],
    away: tuple[float, float] | None,
    paused: float,
) -> None:
    assert _paused(silence, closures, away) == pytest.approx(paused)


@given(
    silence=st.floats(0, 90),
    closures=st.lists(
        st.tuples(st.integers(0, 49), st.integers(1, 3)), max_size=5, unique_by=lambda c: c[0]
    ),
    away=st.tuples(st.floats(0, 150), st.floats(0, 150)),
)
def test_never_more_than_the_silence(
    silence: float, closures: list[tuple[int, int]], away: tuple[float, float]
) -> None:
    calendar = {
        "closures": [
            {"from": _day(4 * first), "until": _day(4 * first + days - 1)}
            for first, days in closures
        ]
    }
    spans = [(a / DAY_S, b / DAY_S) for a, b in closures_of(calendar)]
    found = _paused(silence, spans, (min(away), max(away)))
    assert 0.0 <= found <= silence + 1e-9


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()


def test_a_weekly_buyer_of_a_closed_shop_is_not_silent() -> None:
    """Four weeks without a purchase, three of them closed, are a week of silence."""
    x = seen_at(1_028.5, purchases(*range(930, 1_001, 7)))
    now = np.array([1_028.5 * DAY_S])
    closed = paused_days(x, now, ((1_003 * DAY_S, 1_024 * DAY_S),), NEVER, NEVER)
    assert silences_of(x, LapseClock()).reached.tolist() == [True]
    found = silences_of(x, LapseClock(), closed)
    assert found.silence.tolist() == pytest.approx([7.0])
    assert found.days.tolist() == [28.0]  # four gaps of 7 days: the length is the same


def test_a_calendar_is_read_in_order_and_joined() -> None:
    found = closures_of(
        {
            "closures": [
                {"from": "1970-01-11", "until": "1970-01-11", "note": "a day"},
                {"from": "1970-01-02", "until": "1970-01-04"},
                {"from": "1970-01-03", "until": "1970-01-06"},
            ]
        }
    )
    assert found == ((DAY_S, 6 * DAY_S), (10 * DAY_S, 11 * DAY_S))


@pytest.mark.parametrize(
    ("calendar", "reason"),
    [
        ({"closures": [{"from": "2026-12-27", "until": "2026-12-24"}]}, "lies before"),
        ({"closures": [{"from": "27.12.2026", "until": "2026-12-24"}]}, "from"),
        ({"closure": []}, "closure"),
        ([], "object"),
    ],
)
def test_a_calendar_that_cannot_be_meant_is_refused(calendar: object, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        closures_of(calendar)
