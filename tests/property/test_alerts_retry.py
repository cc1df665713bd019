"""The retry schedule stays within its bounds, whatever the answer and the message."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.alerts.core.retry import (
    DELAYS_S,
    JITTER,
    RETRY_AFTER_TIMES_MAX,
    THROTTLED_S_MIN,
    Reply,
    after,
    jitter,
    read,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ATTEMPTS = st.integers(1, len(DELAYS_S) - 1)
FAILURES = st.sampled_from([None, 301, 308, 400, 404, 429, 500, 502, 503, 504])
DATES = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001 (for text)
    lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")
)
ASKED = st.one_of(st.none(), st.integers(0, 10**30).map(str), DATES, st.text(max_size=40))


@given(st.text(min_size=1, max_size=60), ATTEMPTS, FAILURES, ASKED, st.booleans())
def test_delays_are_bounded(
    message_id: str, attempt: int, status: int | None, asked: str | None, timed_out: bool
) -> None:
    headers = {} if asked is None else {"retry-after": asked}
    answer = read(Reply(status, 1.0, headers=headers, timed_out=timed_out and status is None))
    found = after(answer, message_id, attempt, NOW, DELAYS_S)
    base = DELAYS_S[attempt]
    assert found.outcome == "retry"
    assert found.delay_s is not None
    lowest = base * (1 - JITTER)
    highest = max(base * max(RETRY_AFTER_TIMES_MAX, 1 + JITTER), THROTTLED_S_MIN)
    assert lowest <= found.delay_s <= highest
    if (timed_out and status is None) or status == 429:
        assert found.delay_s >= THROTTLED_S_MIN
    assert after(answer, message_id, attempt, NOW, DELAYS_S) == found


@given(st.text(max_size=60), st.integers(1, 10))
def test_jitter_is_a_share(message_id: str, attempt: int) -> None:
    assert -1 <= jitter(message_id, attempt) < 1


def test_jitter_spreads() -> None:
    tenths = {int((jitter(f"msg_{n}", 2) + 1) * 5) for n in range(200)}
    assert tenths == set(range(10))
