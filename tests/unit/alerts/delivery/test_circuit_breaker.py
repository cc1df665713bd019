"""The circuit breaker: when it opens, when it tries once, and when it closes."""

from datetime import UTC, datetime, timedelta

import pytest

from services.alerts.delivery.core.circuit_breaker import (
    OPEN,
    REQUESTS_MIN,
    STEP,
    WINDOW,
    Breaker,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def after(*results: bool, every: timedelta = timedelta(seconds=1)) -> tuple[Breaker, datetime]:
    """Return a breaker after these results, and the time of the last one."""
    breaker, at = Breaker(), NOW
    for ok in results:
        at += every
        breaker = breaker.record(at, ok=ok)
    return breaker, at


@pytest.mark.parametrize(
    ("oks", "failures", "state"),
    [(0, 9, "closed"), (0, 10, "open"), (3, 7, "open"), (4, 7, "closed"), (30, 69, "closed"),
     (30, 70, "open")],
)  # fmt: skip
def test_09_it_opens_at_ten_requests_with_70_percent_failures(
    oks: int, failures: int, state: str
) -> None:
    breaker, at = after(*[True] * oks, *[False] * failures)
    assert breaker.state(at) == state


def test_09_it_is_left_alone_for_30_s_then_tried_once() -> None:
    breaker, at = after(*[False] * REQUESTS_MIN)
    assert breaker.state(at + OPEN - timedelta(milliseconds=1)) == "open"
    at += OPEN
    assert breaker.state(at) == "half_open"
    failed = breaker.record(at, ok=False)
    assert failed.state(at + OPEN - timedelta(milliseconds=1)) == "open"
    worked = failed.record(at + OPEN, ok=True)
    assert worked.state(at + OPEN) == "closed"
    assert worked.record(at + OPEN, ok=False).state(at + OPEN) == "closed", "it begins anew"


def test_09_what_is_older_than_the_window_is_forgotten() -> None:
    breaker, at = after(*[False] * (REQUESTS_MIN - 1))
    later = at + WINDOW + STEP
    assert breaker.record(later, ok=False).state(later) == "closed"
    assert len(breaker.record(later, ok=False).steps) == 1


def test_09_failures_far_apart_do_not_open_it() -> None:
    breaker, at = after(*[False] * 50, every=timedelta(seconds=40))
    assert breaker.state(at) == "closed"
    assert len(breaker.steps) <= WINDOW / STEP + 1
