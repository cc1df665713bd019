"""The retry schedule stays within its bounds, for any answer and message."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from services.alerts.delivery.core.retry import (
    DELAYS_S,
    JITTER,
    RETRY_AFTER_TIMES_MAX,
    THROTTLED_S_MIN,
    Reply,
    after,
    jitter,
    read,
    retry_after_s,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ATTEMPTS = st.integers(1, len(DELAYS_S) - 1)
FAILURES = st.sampled_from([None, 301, 308, 400, 404, 429, 500, 502, 503, 504])
DATES = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001 (for text)
    lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")
)
PARTS = st.sampled_from(
    ["Wed", "Wed,", "Wednesday,", "21", "Oct", "2026", "07:28:00", "GMT", "+0000", "-9999", "", ":",
     "99999999999999999999", "07:28:99999999999", "+99999999999999", "-1", "NaN", "inf", "1e400",
     "21-Oct-26", "00", "0000", "9999", "Foo", "\0", "\ud800", "٣", "²"]
)  # fmt: skip
NEAR_DATES = st.lists(PARTS, max_size=8).map(" ".join)
ASKED = st.one_of(
    st.none(), st.integers(-10, 10**30).map(str), DATES, NEAR_DATES, st.text(max_size=40),
    st.from_regex(r"[A-Z][a-z]{2}, \d{1,25} [A-Z][a-z]{2} \d{1,25} \d{1,20}:\d{1,20}:\d{1,20} \S+"),
    st.builds(str.__mul__, st.sampled_from("0159"), st.integers(400, 6_000)),
)  # fmt: skip


@given(st.text(min_size=1, max_size=60), ATTEMPTS, FAILURES, ASKED, st.booleans())
@example("m", 1, 503, "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", False)
@example("m", 1, 503, "Wed, 99999999999 Oct 2026 07:28:00 GMT", False)
@example("m", 1, 503, "Wed, 21 Oct 2026 07:28:99999999999 GMT", False)
@example("m", 1, 503, "Wed, 21 Oct 2026 07:28:00 +99999999999999", False)
@example("m", 1, 503, "Fri, 31 Dec 9999 23:59:60 GMT", False)
@example("m", 1, 503, "9" * 6000, False)
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


@given(ASKED)
def test_a_header_asks_for_a_number_of_seconds_or_for_nothing(asked: str | None) -> None:
    seconds = retry_after_s(asked, NOW)
    assert seconds is None or seconds >= 0


@given(DATES)
def test_each_form_of_a_date_means_the_same(date: str) -> None:
    at = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    expected = max(0.0, (at - NOW).total_seconds())
    assert retry_after_s(date, NOW) == expected
    assert retry_after_s(f"{at:%a %b} {at.day:2} {at:%H:%M:%S %Y}", NOW) == expected
    if NOW.year - 50 < at.year <= NOW.year + 50:
        assert retry_after_s(f"{at:%A, %d-%b-%y %H:%M:%S} GMT", NOW) == expected
