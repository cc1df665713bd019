"""Judges any list of warnings against the purchases: were silent customers warned of in time?

Backtests, docs and foreign lists are compared by this one set of definitions.

- Purchases of one UTC day are one occasion. A *silence* begins with the last purchase of an
  occasion of an *established* customer (at least 5 occasions) and ends with the next purchase.
- Usual gap: mean of the last 12 gaps between occasions before the silence, or of fewer.
- Lapse length: 4 usual gaps, at least 28 and at most 180 days; a silence of that length is a
  *lapse*.
- A silence is counted if it begins within the window and its lapse length ends before the data.
- A warning belongs to the silence in which it lies; the first counts. It is *in time* until three
  quarters of the lapse length, in whole days of silence.

Times are Unix seconds UTC, durations days. Shares are rounded to four digits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import msgspec
import numpy as np

from deploy.backtest.occasions import LAPSE, LapseRule, Silences, silences
from services.scoring.core.features.events import DAY_S
from services.scoring.training.data.event_table import EventTable
from shared.kernel.arrays import Flags, Floats, Ints

__all__ = [
    "LAPSE",
    "Figures",
    "Judged",
    "JudgedWindow",
    "LapseRule",
    "Silences",
    "Warnings",
    "judge",
    "judged",
    "silences",
]  # fmt: skip


IN_TIME: Final = 0.75
"""Share of the lapse length until which a warning leaves time to act."""
RULE_GAPS: Final = (1.5, 2.0, 2.5, 3.0)
"""Usual gaps of silence after which the plain rules warn."""
RULE_GAPS_MAX: Final = 3.0
RULE_GAPS_MIN: Final = 0.2
RULE_DAYS_MIN: Final = 7.0
"""No rule warns about a shorter silence."""
MONTH_DAYS: Final = 30.0
HALVINGS: Final = 40
"""Steps of the search for the rule that warns as often: far below a second of silence."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a list of warnings. None where there is nothing to divide by."""

    warned: int
    """Counted silences with a warning before they lapsed."""
    noticed: int
    """Lapses warned of in time."""
    budget: float
    """Warned silences per 100 established customers and 30 days."""
    precision: float | None
    """Share of the warned that lapsed."""
    precision_in_time: float | None
    """Share of the warned that lapsed and were warned of in time."""
    recall: float | None
    """Share of the lapses warned of in time."""
    value_recall: float | None
    """The same with each lapse weighted by what the customer spent in the 91 days before."""
    at_gaps_median: float | None
    """Usual gaps of silence at the warning, of those in time."""
    lead_days_median: float | None
    """Days from the warning to the lapse, of those in time."""


class AsOften(msgspec.Struct, frozen=True, kw_only=True):
    """The plain rule that warns as often as the list."""

    gaps: float
    """Usual gaps of silence after which it warns."""
    thinned_to: float | None
    """Share of its warnings that is left, at random, where it warns more often; None: all."""
    figures: Figures


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A list of warnings, beside plain rules on the same silences."""

    silences: int
    customers: int
    lapses: int
    given: int
    """Warnings of the list."""
    outside: int
    """Of these, those within no counted silence."""
    ours: Figures
    as_often: AsOften
    by_spending: Figures
    """The rule of three gaps, thinned to as many warnings by the customers' spending."""
    rules: dict[str, Figures]
    """Figures of the plain rules, by usual gaps of silence."""


@dataclass(frozen=True, slots=True)
class Warnings:
    """Columns of warnings, in any order."""

    row: Ints
    """Index of the customer among those of the table."""
    at: Floats
    """Unix seconds UTC."""

    @classmethod
    def of(cls, table: EventTable, given: Iterable[tuple[str, datetime]]) -> Self:
        """Build from customer and instant (UTC); customers missing from the table are left out."""
        row = {customer: n for n, customer in enumerate(table.customers)}
        known = [(row[customer], at.timestamp()) for customer, at in given if customer in row]
        return cls(
            np.array([n for n, _ in known], np.int64),
            np.array([at for _, at in known], np.float64),
        )

    def __len__(self) -> int:
        """Number of warnings."""
        return len(self.row)


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """The counted silences of a window, and the denominator of budgets."""

    counted: Silences
    customers: int
    months: float
    """Number of customers times 30-day months."""

    @classmethod
    def of(cls, found: Silences, begin: float, end: float) -> "JudgedWindow":
        """Return the window of silences that begin in [begin, end)."""
        within = found.select((found.start >= begin / DAY_S) & (found.start < end / DAY_S))
        customers = len(np.unique(within.row))
        months = customers * (end - begin) / DAY_S / MONTH_DAYS
        return cls(within.select(within.decided), customers, months)

    def warned_at(self, warnings: Warnings) -> tuple[Floats, int]:
        """Return the first warnings within silences, and how many warnings lie within any.

        float64[n]: days of silence at the first warning within each; +inf without one.
        """
        n, inside = len(self.counted), 0
        at = np.full(n, np.inf)
        first, last = (np.searchsorted(self.counted.row, warnings.row, side)
                       for side in ("left", "right"))  # fmt: skip
        starts = self.counted.start
        for low, high, time in zip(
            first.tolist(), last.tolist(), (warnings.at / DAY_S).tolist(), strict=True
        ):
            place = low + int(np.searchsorted(starts[low:high], time, "right")) - 1
            if place < low or time >= starts[place] + self.counted.lasts[place]:
                continue
            inside += 1
            at[place] = min(at[place], time - starts[place])
        return at, inside

    def rule_at(self, gaps: float) -> Floats:
        """float64[n]: days of silence at which the plain rule warns."""
        return np.maximum(RULE_DAYS_MIN, gaps * self.counted.gap)

    def fired(self, at: Floats) -> Flags:
        """bool[n]: warned of, while the customer was still silent and had not lapsed."""
        return np.asarray((at < self.counted.lasts) & (at < self.counted.length))

    def timely(self, at: Floats) -> Flags:
        """bool[n]: a lapse, and warned of in time."""
        early = np.floor(at) <= IN_TIME * self.counted.length
        return np.asarray(self.fired(at) & self.counted.lapse & early)

    def only(self, which: Flags) -> "JudgedWindow":
        """Return the silences under a mask, and only their customers."""
        counted = self.counted.select(which)
        customers = len(np.unique(counted.row))
        share = customers / self.customers if self.customers else 0.0
        return JudgedWindow(counted, customers, self.months * share)

    def figures(self, at: Floats) -> Figures:
        """Return the figures of warnings at these days of silence."""
        counted, fired, timely = self.counted, self.fired(at), self.timely(at)
        warned = int(fired.sum())
        share = at[timely] / counted.gap[timely]
        lead = (counted.length - at)[timely]
        return Figures(
            warned=warned,
            noticed=int(timely.sum()),
            budget=round(100 * warned / self.months, 2) if self.months else 0.0,
            precision=_share((fired & counted.lapse).sum(), warned),
            precision_in_time=_share(timely.sum(), warned),
            recall=_share(timely.sum(), counted.lapse.sum()),
            value_recall=_share(counted.spent[timely].sum(), counted.spent[counted.lapse].sum()),
            at_gaps_median=round(float(np.median(share)), 2) if len(share) else None,
            lead_days_median=round(float(np.median(lead)), 1) if len(lead) else None,
        )


def judge(
    table: EventTable, warnings: Warnings, begin: float, end: float, rule: LapseRule = LAPSE
) -> Judged:
    """Judges warnings against the table's purchases; silences that begin in [begin, end) count."""
    return judged(JudgedWindow.of(silences(table, rule), begin, end), warnings)


def judged(window: JudgedWindow, warnings: Warnings) -> Judged:
    """Judges warnings against the counted silences of a window."""
    at, inside = window.warned_at(warnings)
    ours = window.figures(at)
    return Judged(
        silences=len(window.counted),
        customers=window.customers,
        lapses=int(window.counted.lapse.sum()),
        given=len(warnings),
        outside=len(warnings) - inside,
        ours=ours,
        as_often=_as_often(window, ours.warned),
        by_spending=_by_spending(window, ours.warned),
        rules={f"{gaps:g}": window.figures(window.rule_at(gaps)) for gaps in RULE_GAPS},
    )


def _as_often(window: JudgedWindow, target: int) -> AsOften:
    """Returns the rule of at most three gaps with as many warnings, thinned if it gives more."""
    full = window.figures(window.rule_at(RULE_GAPS_MAX))
    if target < full.warned:
        part = target / full.warned
        return AsOften(gaps=RULE_GAPS_MAX, thinned_to=round(part, 3), figures=_thinned(full, part))
    low, high = RULE_GAPS_MIN, RULE_GAPS_MAX
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        often = int(window.fired(window.rule_at(middle)).sum()) > target
        low, high = (middle, high) if often else (low, middle)
    found = window.figures(window.rule_at(high))
    return AsOften(gaps=round(high, 3), thinned_to=None, figures=found)


def _thinned(full: Figures, part: float) -> Figures:
    """Keeps a random part of the warnings: their own shares stay, those of the lapses shrink."""
    return msgspec.structs.replace(
        full,
        warned=round(full.warned * part),
        noticed=round(full.noticed * part),
        budget=round(full.budget * part, 2),
        recall=None if full.recall is None else round(full.recall * part, 4),
        value_recall=None if full.value_recall is None else round(full.value_recall * part, 4),
    )


def _by_spending(window: JudgedWindow, target: int) -> Figures:
    at = window.rule_at(RULE_GAPS_MAX)
    fired = np.flatnonzero(window.fired(at))
    most = fired[np.argsort(-window.counted.spent[fired], kind="stable")[:target]]
    chosen = np.full(len(at), np.inf)
    chosen[most] = at[most]
    return window.figures(chosen)


def _share(part: float, whole: float) -> float | None:
    return round(float(part) / float(whole), 4) if whole else None
