"""Builds the segment report: movement between groups, and each group's activity over time.

It turns a history of classifications and events into numbers (`report`), and these into one HTML
page (`segments_page`), JSON and CSV. It reads no table and decides nothing.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from services.scoring.core.features.events import EventColumns
from services.scoring.core.segments.actions import Action, Compared, compared, days_of, whole
from services.scoring.core.segments.movement import (
    NOT_KNOWN,
    GroupBehaviour,
    Moment,
    Moves,
    doing,
    matrix,
    members_at,
    words_at,
)
from services.scoring.core.value import grades, lifecycle
from services.scoring.core.value.quality import MEANINGS
from shared.kernel.arrays import Flags, Floats
from shared.report.cells import cell
from shared.report.page import Facts, Page, Plot, Row, Section, Table, Text
from shared.report.plots import bars, lines

ALL_CUSTOMERS: Final = "everybody"
PERIODS_MAX: Final = 13
"""Four-week periods shown: about a year."""
PERIOD: Final = timedelta(days=28)
KINDS: Final = ("grade", "tier", "lifecycle", "behaviour")
_ORDER: Final[Mapping[str, Sequence[str]]] = {
    "grade": grades.GRADES,
    "tier": grades.TIERS,
    "behaviour": lifecycle.BEHAVIOURS,
    "lifecycle": lifecycle.LIFECYCLES,
}
"""Words in the expected order: from the best, or from the beginning."""
_BEHAVIOUR: Final = (
    "customers",
    "frequency",
    "churn_rate",
    "satisfaction",
    "response_rate",
    "revenue",
)
_HEADS: Final = ("customers", "purchase days / 4 weeks", "no purchase in period", "satisfaction",
                 "campaign response", "revenue / 4 weeks")  # fmt: skip
_FORMATS: Final = (",d", ".2f", ".1%", ".1f", ".1%", ",.2f")


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Input of the report."""

    moves: Mapping[str, Moves]
    """Moves by kind of classification."""
    segment_moves: Sequence[tuple[str, str, datetime, bool]]
    names: Mapping[str, str]
    """Names of segments, by id."""
    customers: Sequence[str]
    events: EventColumns
    """`row` indexes `customers`."""
    counts: Mapping[str, Mapping[str, int]]
    """Numbers of customers now, by kind and word."""
    worth: Mapping[str, float]
    """Lifetime value by customer."""
    currency: str


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """The numbers of the report."""

    start: datetime
    end: datetime
    around: datetime | Action
    window_days: int
    moved: dict[str, dict[tuple[str, str], int]]
    """Customers by kind and (word at start, word at end)."""
    periods: list[datetime]
    """Starts of the periods of four weeks."""
    over_time: dict[str, list[GroupBehaviour]]
    """Activity by group ("grade: vip", a segment's name), one entry per period."""
    compared: dict[str, Compared]
    """Comparison by group at `around`: the window before and the one after."""
    worth: dict[str, float | None]
    """Mean lifetime value of each group at the end."""


def report(
    data: ReportInput, start: datetime, end: datetime, around: datetime | Action, window_days: int
) -> SegmentReport:
    """Report on everything between two dates (UTC), and on activity around a date or an action."""
    moved = {
        kind: matrix(words_at(moves, start), words_at(moves, end))
        for kind, moves in data.moves.items()
    }
    count = min(PERIODS_MAX, max(1, (end - start) // PERIOD))
    periods = [end - PERIOD * n for n in range(count, 0, -1)]
    by_period = [_groups(data, at) for at in periods]
    names = list(dict.fromkeys(name for groups in by_period for name in groups))
    none = np.zeros(len(data.customers), np.bool_)
    over_time = {
        name: [
            doing(data.events, groups.get(name, none), at.timestamp(), (at + PERIOD).timestamp())
            for at, groups in zip(periods, by_period, strict=True)
        ]
        for name in names
    }
    worth = np.array([data.worth.get(name, np.nan) for name in data.customers])
    values = {name: _mean(worth[group]) for name, group in _groups(data, end).items()}
    return SegmentReport(
        start, end, around, window_days, moved, periods, over_time,
        _compared(data, end, around, window_days), values,
    )  # fmt: skip


def _compared(
    data: ReportInput, end: datetime, around: datetime | Action, window_days: int
) -> dict[str, Compared]:
    """Compare each group at the date, or at each customer's own day of the action."""
    window_s = timedelta(days=window_days).total_seconds()
    if isinstance(around, Action):
        times = [around.at.get(name) for name in data.customers]
        at = days_of(np.array([np.nan if t is None else t.timestamp() for t in times]))
        moment: Moment = around.at
    else:
        at, moment = np.full(len(data.customers), around.timestamp()), around
    fit = whole(data.events, at, window_s, end.timestamp())
    groups = {ALL_CUSTOMERS: ~np.isnan(at)} | _groups(data, moment)
    return {name: compared(data.events, group, at, fit, window_s) for name, group in groups.items()}


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _groups(data: ReportInput, at: Moment) -> dict[str, Flags]:
    """Return bool[customers] for each grade, tier and segment at a time."""
    index = {name: n for n, name in enumerate(data.customers)}
    found: dict[str, Flags] = {}

    def add(name: str, customer: str) -> None:
        if (row := index.get(customer)) is not None:
            found.setdefault(name, np.zeros(len(data.customers), np.bool_))[row] = True

    for kind in ("grade", "tier"):
        words = words_at(data.moves.get(kind, ()), at)
        for customer, word in sorted(words.items(), key=lambda one: one[1]):
            add(f"{kind}: {word}", customer)
    for segment, customers in sorted(members_at(data.segment_moves, at).items()):
        for customer in customers:
            add(f"segment: {data.names.get(segment, segment)}", customer)
    return found


def as_json(found: SegmentReport) -> dict[str, Any]:
    """Convert the numbers to plain values."""
    return {
        "start": found.start.isoformat(),
        "end": found.end.isoformat(),
        "around": None if isinstance(found.around, Action) else found.around.isoformat(),
        "action": found.around.name if isinstance(found.around, Action) else None,
        "window_days": found.window_days,
        "movement": {
            kind: [{"from": a, "to": b, "customers": n} for (a, b), n in pairs.items()]
            for kind, pairs in found.moved.items()
        },
        "periods": [at.isoformat() for at in found.periods],
        "over_time": {name: [asdict(one) for one in row] for name, row in found.over_time.items()},
        "before_and_after": {name: asdict(one) for name, one in found.compared.items()},
        "lifetime_value": found.worth,
    }


def as_csv(found: SegmentReport) -> str:
    """Write each group's activity in each period, and before and after, one row each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["group", "period_start", *_BEHAVIOUR, "view"])
    for name, row in found.over_time.items():
        for at, one in zip(found.periods, row, strict=True):
            figures = (getattr(one, n) for n in _BEHAVIOUR)
            writer.writerow([cell(name), at.date().isoformat(), *figures, "over_time"])
    for name, both in found.compared.items():
        for view, one in (("before", both.before), ("after", both.after)):
            writer.writerow([cell(name), "", *(getattr(one, n) for n in _BEHAVIOUR), view])
    return out.getvalue()


def segments_page(data: ReportInput, found: SegmentReport) -> Page:
    """Build the page that a manager reads."""
    known = sum(data.counts.get("lifecycle", {}).values())
    return Page(
        title="Customer value and segments",
        lead=f"Who the {known:,} customers are, what they are worth and where they moved between "
        f"{found.start:%-d %B %Y} and {found.end:%-d %B %Y}.",
        sections=(
            _now(data, found),
            *(_movement(kind, found.moved[kind]) for kind in found.moved if found.moved[kind]),
            _over_time(data, found),
            _comparison(data, found),
            _quality(data),
        ),
        foot="Definitions and formulas: docs/segmentation.md. Times are UTC.",
    )


def _now(data: ReportInput, found: SegmentReport) -> Section:
    plots = [
        Plot(bars({k: float(v) for k, v in sorted(data.counts[kind].items(), key=lambda p: -p[1])},
                  title=title, x_label="customers"))
        for kind, title in (("grade", "Grades"), ("tier", "Value"), ("lifecycle", "Lifecycle"),
                            ("rfm_cell", "RFM cells"))
        if data.counts.get(kind)
    ]  # fmt: skip
    worth = {name: value for name, value in found.worth.items() if value is not None}
    table = Table(
        ("group", f"mean lifetime value ({data.currency})"),
        list(worth.items()),
        formats=("", ",.2f"),
    )
    return Section("Who they are now", (Row(plots), *((table,) if worth else ())))


def _movement(kind: str, pairs: Mapping[tuple[str, str], int]) -> Section:
    order = {word: at for at, word in enumerate(_ORDER.get(kind, ()))}
    words = sorted(
        {word for pair in pairs for word in pair},
        key=lambda w: (w == NOT_KNOWN, order.get(w, len(order)), w),
    )
    rows: list[tuple[str | int, ...]] = []
    for before in words:
        cells = [pairs.get((before, after), 0) for after in words]
        if sum(cells):
            rows.append((before, *cells, sum(cells)))
    stayed = sum(pairs.get((word, word), 0) for word in words if word != NOT_KNOWN)
    known = sum(n for (before, _), n in pairs.items() if before != NOT_KNOWN)
    text = f"{stayed:,} of {known:,} who had a {kind} at the start have the same at the end."
    if not known:
        text = f"No customer had a {kind} at the start yet."
    return Section(
        f"Movement between {kind} groups",
        (
            Table(
                ("from \\ to", *words, "together"), rows, caption="Customers, from rows to columns"
            ),
            Text(text),
        ),
    )


def _over_time(data: ReportInput, found: SegmentReport) -> Section:
    named = {name: row for name, row in found.over_time.items() if any(d.customers for d in row)}
    x = list(range(len(found.periods)))
    plots = [
        Plot(lines(
            {name: (x, [np.nan if getattr(d, field) is None else getattr(d, field) for d in row])
             for name, row in named.items() if name.startswith(("grade", "segment"))},
            title=title, x_label=f"four-week periods from {found.periods[0]:%-d %B %Y}",
            y_label=label, markers=True))
        for field, title, label in (
            ("customers", "Customers", "customers"),
            ("frequency", "Purchase frequency", "purchase days / 4 weeks"),
            ("churn_rate", "No purchase in the period", "share"),
            ("revenue", "Revenue per customer", f"{data.currency} / 4 weeks"),
        )
        if any(name.startswith(("grade", "segment")) for name in named)
    ]  # fmt: skip
    rows = [
        (name, f"{at:%-d\u00a0%b\u00a0%Y}", *(getattr(one, field) for field in _BEHAVIOUR))
        for name, row in named.items()
        for at, one in zip(found.periods, row, strict=True)
        if one.customers
    ]
    note = "A customer counts in the group in which the period found them at its start."
    return Section(
        "What each group does over time",
        (
            Row(plots),
            Table(("group", "period from", *_HEADS), rows, formats=("", "", *_FORMATS)),
            Text(note, note=True),
        ),
    )


def _comparison(data: ReportInput, found: SegmentReport) -> Section:
    rows: list[tuple[str | float | None, ...]] = []
    for name, both in found.compared.items():
        for label, one in (("before", both.before), ("after", both.after)):
            rows.append((name, label, *(getattr(one, field) for field in _BEHAVIOUR)))
    action = found.around.name if isinstance(found.around, Action) else None
    what = f"{found.around:%-d %B %Y}" if isinstance(found.around, datetime) else f"action {action}"
    all_customers = found.compared[ALL_CUSTOMERS]
    text = (
        f"The same customers in the {found.window_days} days before and after {what}. "
        f"{all_customers.left_out:,} are left out: they first bought within the window before, or "
        "the window after is not over."
    )
    if action is not None:
        text += (
            " Each customer is compared around their own first day of it, which counts as after."
        )
    return Section(
        f"Before and after: {what}",
        (
            Text(text),
            *_changes(found),
            Facts((("around", what), ("days on each side", found.window_days),
                   ("currency", data.currency))),
            Table((f"group {'that day' if action else 'on that date'}", "", *_HEADS), rows,
                  formats=("", "", *_FORMATS)),
            Text("A difference is not yet an effect: seasons, a return to the usual, and who was "
                 "chosen for a group move it too. What an intervention did is measured against "
                 "the holdout.", note=True),
        ),
    )  # fmt: skip


def _changes(found: SegmentReport) -> tuple[Row, ...]:
    """Show purchase days before and after, group by group."""
    groups = {
        name: (one.before.frequency, one.after.frequency)
        for name, one in found.compared.items()
        if one.before.frequency is not None and one.after.frequency is not None
    }
    if not groups:
        return ()
    plots = [
        Plot(bars({name: pair[at] or 0.0 for name, pair in groups.items()},
                  title=f"Purchase days / 4 weeks, {label}", x_label="purchase days"))
        for at, label in ((0, "before"), (1, "after"))
    ]  # fmt: skip
    return (Row(plots),)


def _quality(data: ReportInput) -> Section:
    flags = data.counts.get("quality", {})
    rows = [(name, flags.get(name, 0), meaning) for name, meaning in MEANINGS.items()]
    return Section("Data quality", (Table(("flag", "customers", "meaning"), rows),))
