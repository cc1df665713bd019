"""Warnings that were raised, judged by what the customers did then."""

from services.alerts.core.budget_tuning import TuningResult
from services.alerts.core.realised import RaisedWarning, Realised, add, realised
from tests.unit.alerts.core.test_budget import BOUGHT, HISTORIES
from tests.unit.alerts.samples import day

RAISED = {
    "leaves": [RaisedWarning(day(18), 5, "silence_beyond_rhythm")],
    "comes back": [RaisedWarning(day(18), 5, "silence_beyond_rhythm")],
    "new": [RaisedWarning(day(18), 5, "new_and_quiet")],
    "complains": [RaisedWarning(day(5), 1, "complaint_open")],
}
"""One right, one wrong; a newcomer's, and one that no budget applies to, do not count."""


def figures(end: float) -> Realised:
    """Return the figures at the end of a day."""
    found = TuningResult()
    add(found, HISTORIES, RAISED, BOUGHT, day(end))
    return realised(found, day(end))


def test_no_warning_is_judged_before_its_time_is_over() -> None:
    """Of 4 customers with a rhythm of their own, 2 were warned about in the last 30 days."""
    young = figures(20)
    assert (young.per_100, young.precision) == (50.0, None)


def test_precision_and_recall_as_they_mature() -> None:
    """One of two warnings was right; of two lapses, one had a warning before it was complete."""
    assert figures(60) == Realised(per_100=0.0, precision=0.5, recall=0.5)


def test_nothing_is_claimed_of_nobody() -> None:
    """Without customers there is no rate, and no share."""
    assert realised(TuningResult(), day(1)) == Realised(None, None, None)
