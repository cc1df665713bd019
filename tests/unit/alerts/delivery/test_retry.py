"""The result of each answer to an attempt."""

from datetime import UTC, datetime

import pytest

from services.alerts.delivery.core.retry import (
    DELAYS_S,
    Answer,
    Reply,
    after,
    read,
    retry_after_s,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def answer(
    status: int | None, *, timed_out: bool = False, reached: bool = True, **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read(Reply(status, 1.0, headers=named, timed_out=timed_out, reached=reached))


def test_the_schedule_lasts_75_hours_35_minutes_and_5_seconds() -> None:
    assert len(DELAYS_S) == 10
    assert sum(DELAYS_S) == 75 * 3600 + 35 * 60 + 5


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_success(status: int) -> None:
    assert after(answer(status), "m", 1, NOW, DELAYS_S).outcome == "delivered"


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_nothing_else_is(status: int | None) -> None:
    assert after(answer(status), "m", 1, NOW, DELAYS_S).outcome == "retry"


def test_410_switches_the_endpoint_off_at_any_attempt() -> None:
    for attempt in (1, 10):
        assert after(answer(410), "m", attempt, NOW, DELAYS_S).outcome == "gone"


def test_without_a_readable_answer_it_may_have_been_taken() -> None:
    """Only a failure to connect proves that the message was not received."""
    assert answer(None).result == answer(None, timed_out=True).result == "ambiguous"
    assert answer(None, reached=False).result == "retry"


def test_a_receiver_may_stop_the_retries_of_a_message() -> None:
    """Checks DELIVERY 7.9."""
    stop = answer(500, webhook_delivery="abort-message")
    assert after(stop, "m", 1, NOW, DELAYS_S).outcome == "failed"
    assert after(answer(200, webhook_delivery="abort-message"), "m", 1, NOW, DELAYS_S).outcome == (
        "delivered"
    )


def test_every_failure_has_a_reason() -> None:
    for status in (301, 400, 410, 500):
        assert str(status) in (answer(status).error or "")


def test_the_tenth_failure_is_the_last() -> None:
    assert after(answer(500), "m", 9, NOW, DELAYS_S).outcome == "retry"
    assert after(answer(500), "m", 10, NOW, DELAYS_S).outcome == "failed"


@pytest.mark.parametrize(
    ("asked", "delay_s"),
    [("1", 300), ("400", 400), ("601", 600), ("9" * 500, 600),
     ("Sun, 01 Mar 2026 12:06:40 GMT", 400),
     ("Sun, 01 Mar 2020 12:00:00 GMT", 300)],
)  # fmt: skip
def test_retry_after_is_followed_between_once_and_twice_the_delay(
    asked: str, delay_s: float
) -> None:
    found = after(answer(503, retry_after=asked), "m", 2, NOW, DELAYS_S)
    assert found.delay_s == delay_s


@pytest.mark.parametrize("asked", ["", "soon", "-5", "1.5", "٣", "Sun, 99 Foo 2026 12:00:00 GMT"])
def test_a_meaningless_retry_after_is_ignored(asked: str) -> None:
    assert retry_after_s(asked, NOW) is None


def test_a_throttled_or_silent_receiver_gets_a_minute() -> None:
    for silent in (answer(429), answer(429, retry_after="1"), answer(None, timed_out=True)):
        assert after(silent, "m", 1, NOW, DELAYS_S).delay_s == 60
    assert (after(answer(500), "m", 1, NOW, DELAYS_S).delay_s or 99) <= 6
