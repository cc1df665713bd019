"""The figures of a backtest: how many lapses were warned of in time, and which were missed.

Turns a walk into everything that the page and `backtest.json` show. It never walks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from deploy.backtest.judge import Figures, JudgedWindow, Warnings, judged, silences
from deploy.backtest.occasions import LAPSE, LapseRule
from deploy.backtest.result import (
    AtRisk,
    Level,
    MissedVip,
    OfCause,
    OfGrade,
    Outcome,
    Quality,
    Result,
    Week,
)
from deploy.backtest.result import WarningEntry as Shown
from deploy.backtest.tasks import SimulatedWarning, facts_of
from deploy.backtest.walk import Walked
from services.alerts.core.signs import CHURNED
from services.alerts.core.task_cause import is_gone
from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.value.grades import GRADES
from services.scoring.training.data.event_table import EventTable
from shared.contracts.signs import SILENCE
from shared.event_files.options import Read
from shared.kernel.arrays import Codes, Floats

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
"""Shares of the warnings, by expected value, for which the page shows the result."""
VIP: Final = GRADES.index("vip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The input of the figures. Unix seconds UTC."""

    table: EventTable
    begin: float
    end: float
    walked: Walked
    warned: Sequence[SimulatedWarning]
    """Warnings that would have been sent, in the order of time."""

    @property
    def within(self) -> list[SimulatedWarning]:
        """The warnings within the window."""
        return [one for one in self.warned if self.begin <= one.at.timestamp() < self.end]


def lapse_rule(clock: LapseClock) -> LapseRule:
    """Returns the judge's rule with a deployment's lapse length."""
    return LapseRule(clock.gaps, clock.days_min, clock.days_max)


def result(ran: Ran, read: Read, rule: LapseRule = LAPSE) -> Result:
    """Returns the figures, except what only the caller knows of how they were made."""
    window = JudgedWindow.of(silences(ran.table, rule), ran.begin, ran.end)
    of_silence = [one for one in ran.warned if one.cause in SILENCE]
    found = judged(window, columns(ran.table, of_silence))
    first = ran.table.first_purchases()
    return Result(
        title=read.file,
        begin=_day(ran.begin),
        end=_day(ran.end),
        today=_day(ran.table.observed_until - 1.0),
        currency=read.currency or "",
        read=read,
        customers=int((first < ran.end).sum()),
        established=window.customers,
        lapses=found.lapses,
        ours=quality(found.ours),
        rule=quality(found.as_often.figures),
        rule_gaps=found.as_often.gaps,
        causes=_causes(ran, window),
        grades=_grades(ran, window, of_silence),
        weeks=_weeks(ran),
        vips_missed=_missed(ran, window, of_silence),
        warned=[_shown(ran, one, by) for one, by in zip(ran.within, _outcomes(ran), strict=True)],
        at_risk=_at_risk(ran),
        levels=_levels(ran, window, of_silence),
        every=quality(_figures(ran, window, ran.warned)),
        by_spending=quality(found.by_spending),
        found_per_100=round(100 * len(ran.within) / window.months, 2) if window.months else 0.0,
        looks=ran.walked.looks,
    )


def columns(table: EventTable, warned: Sequence[SimulatedWarning]) -> Warnings:
    """Converts warnings to the judge's columns."""
    return Warnings.of(table, ((one.customer_id, one.at) for one in warned))


def _figures(ran: Ran, window: JudgedWindow, warned: Sequence[SimulatedWarning]) -> Figures:
    return window.figures(window.warned_at(columns(ran.table, warned))[0])


def quality(figures: Figures) -> Quality:
    """Converts the judge's figures to the page's names."""
    return Quality(
        warned=figures.warned,
        noticed=figures.noticed,
        budget=figures.budget,
        precision=figures.precision,
        precision_in_time=figures.precision_in_time,
        recall=figures.recall,
        value_recall=figures.value_recall,
        lead_days=figures.lead_days_median,
        at_gaps=figures.at_gaps_median,
    )


def _causes(ran: Ran, window: JudgedWindow) -> list[OfCause]:
    """Returns the figures of each cause by itself, the most frequent first."""
    found = []
    for cause, times in Counter(one.cause for one in ran.within).most_common():
        some = [one for one in ran.warned if one.cause == cause]
        ours = _figures(ran, window, some)
        found.append(
            OfCause(
                cause=cause,
                warnings=times,
                precision=ours.precision,
                precision_in_time=ours.precision_in_time,
                lead_days=ours.lead_days_median,
            )
        )
    return found


def _grades(
    ran: Ran, window: JudgedWindow, of_silence: Sequence[SimulatedWarning]
) -> list[OfGrade]:
    grade = _grade(ran, window)
    at, _ = window.warned_at(columns(ran.table, of_silence))
    found = []
    for code, name in (*enumerate(GRADES), (-1, None)):
        which = grade == code
        if not which.any():
            continue
        only = window.only(which)
        ours = only.figures(at[which])
        found.append(
            OfGrade(
                grade=name,
                customers=only.customers,
                lapses=int(only.counted.lapse.sum()),
                warned=ours.warned,
                noticed=ours.noticed,
                value_recall=ours.value_recall,
                precision_in_time=ours.precision_in_time,
            )
        )
    return found


def _grade(ran: Ran, window: JudgedWindow) -> Codes:
    """int8[silences]: the customer's grade at the first tick of each."""
    grades = ran.walked.grades
    tick = np.ceil(window.counted.start - ran.begin / DAY_S).astype(np.int64)
    return np.asarray(grades[np.clip(tick, 0, len(grades) - 1), window.counted.row])


def _missed(
    ran: Ran, window: JudgedWindow, of_silence: Sequence[SimulatedWarning]
) -> list[MissedVip]:
    """Returns lapses of VIPs without a warning in time, the highest spending first."""
    counted = window.counted
    at, _ = window.warned_at(columns(ran.table, of_silence))
    late = np.flatnonzero(counted.lapse & ~window.timely(at) & (_grade(ran, window) == VIP))
    return [
        MissedVip(
            customer=ran.table.customers[counted.row[n]],
            lapsed_at=_day((counted.start[n] + counted.length[n]) * DAY_S),
            spent_before=float(counted.spent[n]),
        )
        for n in late[np.argsort(-counted.spent[late], kind="stable")].tolist()
    ]


def _levels(ran: Ran, window: JudgedWindow, of_silence: Sequence[SimulatedWarning]) -> list[Level]:
    """Returns the figures of fewer warnings: those of the most expected value, in hindsight."""
    worth = np.array([one.expected_value for one in of_silence])
    found = []
    for share in (*LEVELS, 1.0) if len(worth) else ():
        least = np.quantile(worth, 1.0 - share)
        some = [one for one, kept in zip(of_silence, worth >= least, strict=True) if kept]
        ours = _figures(ran, window, some)
        found.append(
            Level(
                budget=ours.budget,
                warnings=ours.warned,
                precision=ours.precision,
                recall=ours.recall,
                value_recall=ours.value_recall,
                chosen=share == 1.0,
            )
        )
    return found


def _weeks(ran: Ran) -> list[Week]:
    """Counts warnings by week from the window's begin, without customers who already left."""
    begin, made = _day(ran.begin), Counter[int]()
    true: Counter[int] = Counter()
    for one, (outcome, _) in zip(ran.within, _outcomes(ran), strict=True):
        if one.cause != CHURNED:
            week = (one.at.date() - begin).days // 7
            made[week] += 1
            true[week] += outcome == "lapsed"
    weeks = range(-(-(_day(ran.end) - begin).days // 7))
    return [
        Week(begin=begin + timedelta(days=7 * n), warnings=made[n], came_true=true[n])
        for n in weeks
    ]


def _outcomes(ran: Ran) -> list[tuple[Outcome, date | None]]:
    """Returns the outcome of each warning of the window, and its date."""
    bought = _purchases(ran.table)
    return [_outcome(one, bought, ran.table.observed_until) for one in ran.within]


def _outcome(
    warned: SimulatedWarning, bought: dict[str, Floats], known_until: float
) -> tuple[Outcome, date | None]:
    if warned.last_purchase_at is None or warned.lapse_days is None:
        return "open", None
    lapses = warned.last_purchase_at.timestamp() + warned.lapse_days * DAY_S
    days = bought[warned.customer_id]
    after = days[np.searchsorted(days, warned.at.timestamp(), side="right") :]
    if len(after) and after[0] < lapses:
        return "came_back", _day(after[0])
    return ("lapsed", _day(lapses)) if lapses <= known_until else ("open", None)


def _purchases(table: EventTable) -> dict[str, Floats]:
    """Returns times of each customer's purchases, ascending, Unix seconds."""
    bought = table.events.kind == Kind.PURCHASE
    row, time = table.events.row[bought], table.events.time[bought]
    order = np.lexsort((time, row))
    who, begins = np.unique(row[order], return_index=True)
    parts = np.split(time[order], begins[1:])
    return {table.customers[n]: part for n, part in zip(who.tolist(), parts, strict=True)}


def _shown(ran: Ran, one: SimulatedWarning, became: tuple[Outcome, date | None]) -> Shown:
    return Shown(
        customer=one.customer_id,
        at=one.at,
        cause=one.cause,
        facts=one.facts,
        probability=one.probability,
        value_at_risk=one.value_at_risk,
        outcome=became[0],
        outcome_at=became[1],
    )


def _at_risk(ran: Ran) -> list[AtRisk]:
    """Returns customers with an open task who have not left, most value at risk first."""
    newest = {one.customer_id: one.cause for one in ran.warned}
    found = []
    for customer, message in ran.walked.open.items():
        lapse, last = message.lapse, message.last_purchase_at
        if is_gone(message) or lapse is None or last is None or customer not in newest:
            continue
        silent = (ran.table.observed_until - last.timestamp()) / DAY_S
        if silent >= lapse.days:
            continue
        found.append(
            AtRisk(
                customer=customer,
                silent_days=silent,
                usual_gap_days=lapse.usual_gap_days,
                probability=lapse.probability,
                value_at_risk=message.value_at_risk,
                cause=newest[customer],
                facts=facts_of(message).get(newest[customer], {}),
                grade=None if message.standing is None else message.standing.grade,
            )
        )
    return sorted(found, key=lambda one: (-one.value_at_risk, one.customer))


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(float(seconds), UTC).date()
