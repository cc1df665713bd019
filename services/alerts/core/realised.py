"""Judges the warnings that were raised by what the customers did then, like a budget's estimate.

The same definitions as `policies tune`: customers with a rhythm of their own, and 30 days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.alerts.core.budget import MONTH_DAYS, BudgetHistory, CandidateWarning, point
from services.alerts.core.budget_tuning import TuningResult, lapses_of, own_rhythm
from services.alerts.core.dry_run import judged
from services.alerts.core.signs import statistical
from services.alerts.core.task_cause import is_gone
from shared.contracts.risk import RiskAssessed

WINDOW_DAYS: Final = 180
"""Days of history that are judged: as long as the longest lapse length."""


@dataclass(frozen=True, slots=True)
class RaisedWarning:
    """A warning that was raised, or held out, and the assessment that led to it."""

    at: datetime
    revision: int
    cause: str


@dataclass(frozen=True, slots=True)
class Realised:
    """What became of the warnings."""

    per_100: float | None
    """Warnings of the last 30 days per 100 customers; None without a customer."""
    precision: float | None
    """Share of the warnings with an outcome that a lapse followed; None: none has one yet."""
    recall: float | None
    """Share of the lapses with a warning before they were complete; None: there was no lapse."""


def add(
    found: TuningResult,
    histories: Mapping[str, Sequence[RiskAssessed]],
    raised: Mapping[str, Sequence[RaisedWarning]],
    bought: Mapping[str, Sequence[datetime]],
    end: datetime,
) -> None:
    """Add these customers, the warnings about them and their lapses; the data end at `end`."""
    for customer, messages in histories.items():
        own = {each.revision: each for each in messages if own_rhythm(each)}
        found.customers += any(not is_gone(each) for each in own.values())
        found.lapses += lapses_of(messages)
        for warning in raised.get(customer, ()):
            message = own.get(warning.revision)
            if message is not None and statistical(warning.cause):
                right = judged(message, bought.get(customer, ()), end)
                found.candidates.append(CandidateWarning(customer, 0.0, warning.at, right))


def realised(found: TuningResult, end: datetime) -> Realised:
    """Return the figures of all customers that were added."""
    since = end - timedelta(days=MONTH_DAYS)
    recent = sum(since < warning.at <= end for warning in found.candidates)
    whole = point(BudgetHistory(found.candidates, found.lapses, found.customers, WINDOW_DAYS), 0.0)
    per_100 = 100 * recent / found.customers if found.customers else None
    return Realised(per_100, whole.precision, whole.recall)
