"""What a backtest comes to: how many who lapsed were warned of in time, and who was missed.

What it is for: everything that `backtest.json` and the page say, computed once. It never walks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.backtest.judge import Figures, Judged, Warnings, Window, judged, silences
from deploy.backtest.occasions import LAPSE, LapseRule
from deploy.backtest.tasks import Warned
from deploy.backtest.walk import Walked
from services.scoring.core.events import DAY_S
from services.scoring.core.lapse import LapseClock
from services.scoring.core.signs.detectors import SILENCES, codes_of
from services.scoring.core.value.grades import GRADES
from services.scoring.training.table import EventTable
from shared.contracts.risk import Band, Grade, RiskAssessed

Ints = NDArray[np.int64]
Codes = NDArray[np.int8]

OF_SILENCE: Final = frozenset(codes_of(SILENCES))
"""Causes that speak of a silence: by these a list is held against the plain rule."""
MISSED_MAX: Final = 200
"""Lapses that are named, those with the most spending first: more are not read."""


class Group(msgspec.Struct, kw_only=True, frozen=True):
    """The silences of one grade."""

    silences: int
    customers: int
    lapses: int
    ours: Figures


class Cause(msgspec.Struct, kw_only=True, frozen=True):
    """The warnings with one cause."""

    warnings: int
    """From the window's begin to its end."""
    per_100: float
    """Per 100 established customers and 30 days."""
    ours: Figures
    """Held against silences, which is what only some causes speak of."""


class Missed(msgspec.Struct, kw_only=True, frozen=True):
    """A lapse that nobody was warned of in time."""

    customer_id: str
    silent_since: datetime
    lapse_days: float
    spent: float
    """In the 91 days before, reporting currency."""
    grade: Grade | None
    warned_at: datetime | None
    """A warning that came too late."""


class AtRisk(msgspec.Struct, kw_only=True, frozen=True):
    """A customer with an open task at the end of the file."""

    customer_id: str
    since: datetime
    """When the task was raised."""
    cause: str
    probability: float
    """Of the lapse, by the newest assessment."""
    value_at_risk: float
    band: Band
    grade: Grade | None
    days_silent: float | None
    lapse_days: float | None


class Result(msgspec.Struct, kw_only=True, frozen=True):
    """All figures of a backtest. Times are UTC, money is the reporting currency."""

    begin: datetime
    end: datetime
    """Silences are counted that begin in [begin, end)."""
    known_until: datetime
    """The end of what the file tells, up to which days were walked."""
    customers: int
    method: str
    """`model`, `pooled` or `rule`."""
    model_version: str
    notes: list[str]
    """What training said."""
    warnings_per_100: float | None
    """The budget that was asked for; None: the policy as it is."""
    currency: str
    warnings: int
    """From `begin` to `end`, all causes."""
    warnings_per_100_found: float
    """Of these, per 100 established customers and 30 days."""
    of_silence: list[str]
    """Causes that `silence` is about."""
    silence: Judged
    every: Judged
    """Whatever the cause."""
    by_cause: dict[str, Cause]
    by_grade: dict[str, Group]
    """As the customer was graded when the silence began; by warnings of silence."""
    missed: list[Missed]
    missed_in_all: int
    at_risk: list[AtRisk]
    """Most value at risk first."""
    looks: int
    messages: int
    seconds: float
    """Wall time of the whole backtest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What the figures are made of."""

    table: EventTable
    begin: float
    """Unix seconds UTC, as `end`."""
    end: float
    walked: Walked
    warned: Sequence[Warned]
    """Those that somebody would have been told of."""


def lapse_rule(clock: LapseClock) -> LapseRule:
    """The judge's rule with a deployment's lapse length."""
    return LapseRule(clock.gaps, clock.days_min, clock.days_max)


def windows(ran: Ran, rule: LapseRule = LAPSE) -> Window:
    """The counted silences."""
    return Window.of(silences(ran.table, rule), ran.begin, ran.end)


def columns(table: EventTable, warned: Sequence[Warned]) -> Warnings:
    """Warnings as the judge reads them."""
    row = {name: n for n, name in enumerate(table.customers)}
    return Warnings(
        np.array([row[one.customer_id] for one in warned], np.int64),
        np.array([one.at.timestamp() for one in warned], np.float64),
    )


def of_silence(warned: Sequence[Warned]) -> list[Warned]:
    """Those whose cause is a silence."""
    return [one for one in warned if one.cause in OF_SILENCE]


def by_cause(ran: Ran, window: Window) -> dict[str, Cause]:
    """Each cause by itself, the most frequent first."""
    within = [one for one in ran.warned if ran.begin <= one.at.timestamp() < ran.end]
    found = {}
    for cause, times in Counter(one.cause for one in within).most_common():
        at, _ = window.warned_at(
            columns(ran.table, [one for one in ran.warned if one.cause == cause])
        )
        found[cause] = Cause(
            warnings=times, per_100=per_100(times, window), ours=window.figures(at)
        )
    return found


def per_100(warnings: int, window: Window) -> float:
    """Warnings per 100 established customers and 30 days."""
    return round(100 * warnings / window.months, 2) if window.months else 0.0


def by_grade(ran: Ran, window: Window) -> dict[str, Group]:
    """Silences by the grade that the customer had when they began."""
    grade = _grades(ran, window)
    at, _ = window.warned_at(columns(ran.table, of_silence(ran.warned)))
    found: dict[str, Group] = {}
    for code, name in enumerate(GRADES):
        which = grade == code
        only = window.only(which)
        if len(only.counted):
            found[name] = Group(
                silences=len(only.counted),
                customers=only.customers,
                lapses=int(only.counted.lapse.sum()),
                ours=only.figures(at[which]),
            )
    return found


def missed(ran: Ran, window: Window) -> list[Missed]:
    """Every lapse that nobody was warned of in time, the most spending first."""
    grade, counted = _grades(ran, window), window.counted
    at, _ = window.warned_at(columns(ran.table, of_silence(ran.warned)))
    late = np.flatnonzero(counted.lapse & ~window.timely(at))
    late = late[np.argsort(-counted.spent[late], kind="stable")]
    return [
        Missed(
            customer_id=ran.table.customers[counted.row[n]],
            silent_since=_moment(counted.start[n]),
            lapse_days=float(counted.length[n]),
            spent=float(counted.spent[n]),
            grade=None if grade[n] < 0 else GRADES[grade[n]],
            warned_at=_moment(counted.start[n] + at[n]) if np.isfinite(at[n]) else None,
        )
        for n in late.tolist()
    ]


def at_risk(walked: Walked) -> list[AtRisk]:
    """Customers with an open task at the end, by the newest assessment of each."""
    newest = {one.customer_id: one for one in walked.warned if one.customer_id in walked.open}
    found = [_at_risk(newest[customer], message) for customer, message in walked.open.items()]
    return sorted(found, key=lambda one: (-one.value_at_risk, one.customer_id))


def _at_risk(warned: Warned, message: RiskAssessed) -> AtRisk:
    lapse, standing = message.lapse, message.standing
    return AtRisk(
        customer_id=message.customer_id,
        since=warned.at,
        cause=warned.cause,
        probability=message.probability if lapse is None else lapse.probability,
        value_at_risk=message.value_at_risk,
        band=message.band,
        grade=None if standing is None else standing.grade,
        days_silent=message.days_silent,
        lapse_days=None if lapse is None else lapse.days,
    )


def figures(ran: Ran, window: Window) -> tuple[Judged, Judged]:
    """Warnings of silence, and all warnings, beside the plain rules."""
    silence = judged(window, columns(ran.table, of_silence(ran.warned)))
    return silence, judged(window, columns(ran.table, ran.warned))


def _grades(ran: Ran, window: Window) -> Codes:
    """int8[silences]: the customer's grade at the first tick of each."""
    days = len(ran.walked.grades)
    tick = np.ceil(window.counted.start - ran.begin / DAY_S).astype(np.int64)
    return np.asarray(ran.walked.grades[np.clip(tick, 0, days - 1), window.counted.row])


def _moment(day: float) -> datetime:
    return datetime.fromtimestamp(float(day) * DAY_S, UTC)
