"""The demo's verdict, on households with silences that are counted by hand."""

from datetime import UTC, datetime, timedelta

import polars as pl

from deploy.demo.judgement import MISSED_MAX, Judgement, MissedLapse, ReceivedWarning, judge

FIRST = datetime(2017, 1, 1, tzinfo=UTC)
BEGIN, END = FIRST + timedelta(days=40), FIRST + timedelta(days=60)
SILENCE = "silence_beyond_rhythm"


def day(number: float) -> datetime:
    return FIRST + timedelta(days=number)


def purchases(**days_of: list[float]) -> pl.DataFrame:
    """Return purchases of 10 on the given days since the first, for each household."""
    rows = [
        {"customer": name, "time": day(number).replace(tzinfo=None), "amount": 10.0}
        for name, days in days_of.items()
        for number in days
    ]
    return pl.DataFrame(rows)


WEEKLY = [0.0, 7.0, 14.0, 21.0, 28.0, 35.0, 42.0]
"""A gap of 7 days, hence a lapse length of 28: the last purchase is within the window."""
PANEL = purchases(
    leaves=WEEKLY,
    also_leaves=WEEKLY,
    returns=[*WEEKLY, 62.0, *range(69, 120, 7)],
    few=[0.0, 42.0],
    steady=[float(n) for n in range(0, 120, 7)],
)


def judged(*warnings: ReceivedWarning) -> Judgement:
    return judge(PANEL, warnings, BEGIN, END)


def test_a_warning_within_three_quarters_of_the_lapse_length_is_in_time() -> None:
    """Whole days of silence count, as the definitions state."""
    for at, timely in ((42 + 12.0, 1), (42 + 21.9, 1), (42 + 22.0, 0)):
        found = judged(ReceivedWarning("leaves", day(at), SILENCE)).judged
        assert (found.lapses, found.ours.warned) == (2, 1)
        assert found.ours.recall == timely / 2, at


def test_a_warning_of_who_returns_before_the_lapse_counts_against_the_precision() -> None:
    found = judged(
        ReceivedWarning("leaves", day(58), SILENCE),
        ReceivedWarning("returns", day(60), "slipping_again"),
    ).judged.ours
    assert (found.warned, found.precision, found.precision_in_time) == (2, 0.5, 0.5)
    assert found.lead_days_median == 12.0


def test_only_causes_that_speak_of_silence_are_judged_by_it() -> None:
    found = judged(ReceivedWarning("leaves", day(58), "value_falling"))
    assert found.judged.ours.warned == 0
    assert found.every.ours.recall == 0.5


def test_who_was_missed_is_named_with_what_they_had_spent() -> None:
    found = judged(ReceivedWarning("leaves", day(58), SILENCE))
    assert found.missed_in_all == 1
    assert found.missed == [MissedLapse("also_leaves", day(42), 70.0)]


def test_many_missed_are_counted_and_the_most_valuable_named() -> None:
    leave = {
        f"household-{n}": [*WEEKLY, *[42.0 + k / 24 for k in range(1, n + 1)]] for n in range(9)
    }
    found = judge(purchases(**leave, steady=[float(n) for n in range(0, 120, 7)]), [], BEGIN, END)
    assert found.missed_in_all == 9
    assert [one.customer for one in found.missed] == [
        f"household-{n}" for n in range(8, 8 - MISSED_MAX, -1)
    ]


def test_customers_without_a_rhythm_and_unknown_ones_are_not_counted() -> None:
    found = judged(
        ReceivedWarning("few", day(58), SILENCE), ReceivedWarning("never seen", day(58), SILENCE)
    ).judged
    assert (found.customers, found.ours.warned) == (4, 0)
