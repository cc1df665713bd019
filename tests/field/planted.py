"""Customers with planted signs of leaving: what happens to each, and what must be found by when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from deploy.backtest.occasions import LAPSE
from services.scoring.core.features.events import Kind
from tests.field.lives import BEGIN, END, IRREGULAR, Happened, Life

SILENCE = "silence_beyond_rhythm"
RHYTHMS: Final = (7.0, 14.0, 30.0)
"""Usual gaps of steady buyers: weekly, fortnightly, monthly."""
SILENT_SHARE: Final = 0.75
"""Share of the lapse length by which a silence is raised."""
COMPLAINT_DAYS: Final = 2.0
ANSWER_DAYS: Final = 1.0
RHYTHM_DAYS: Final = 60.0
INTERACTION_DAYS: Final = 45.0
VALUE_ORDERS: Final = 6
"""Orders at the new level by which a fall of the order value is raised."""
HOLIDAY_DAYS: Final = 21.0
"""Longest absence in which a customer does nothing at all; customers with longer pauses skip
orders."""
SEASON_LOOKS_DAYS: Final = 10.0
"""Days before the first order of a season, from which its customer browses."""
TICK_DAYS: Final = 1.0
"""The events of a day are assessed by the tick that ends it."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A planted sign of leaving. Days since `lives.START`."""

    name: str
    begins: float
    causes: frozenset[str]
    """Any of these is the right cause."""
    until: float | None
    """By when it must be raised; None: by `SILENT_SHARE` of scoring's lapse length, for customers
    without a rhythm of their own."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A life and the truth about it."""

    id: str
    kind: str
    events: Sequence[Happened]
    signs: Sequence[Sign] = ()
    calm: Sequence[tuple[float, float]] = ()
    """Spans in which a warning is false; empty: not judged."""


@dataclass(slots=True)
class Plan:
    """A life under construction, with its planted truth."""

    life: Life
    number: int
    """Number of the customer within its kind: kinds go through the rhythms in turn."""
    signs: list[Sign] = field(default_factory=list)
    calm: list[tuple[float, float]] = field(default_factory=list)

    @property
    def rhythm(self) -> float:
        """The usual gap, days."""
        return RHYTHMS[self.number % len(RHYTHMS)]

    @property
    def quick(self) -> float:
        """The usual gap of frequent buyers: weekly or fortnightly."""
        return RHYTHMS[self.number % 2]

    def sign(self, name: str, begins: float, until: float | None, *causes: str) -> None:
        """Plant a sign."""
        self.signs.append(Sign(name, begins, frozenset(causes), until))

    def known(self) -> float:
        """Return a first day that leaves at least a year of history."""
        return self.life.between(0, 300)

    def silent(self, name: str, *causes: str) -> None:
        """Plant a sign of silence from the last order so far on."""
        days = self.life.bought()
        self.sign(name, days[-1], days[-1] + SILENT_SHARE * lapse_days(days), *causes)


def lapse_days(bought: Sequence[float]) -> float:
    """Returns the lapse length after the last of these days of orders; at least two days needed."""
    days = np.unique(np.floor(bought))[-LAPSE.gaps_kept - 1 :]
    return float(np.clip(LAPSE.gaps * np.diff(days).mean(), LAPSE.days_min, LAPSE.days_max))


def steady(plan: Plan) -> None:
    """Buys weekly, fortnightly or monthly all along."""
    _settled(plan, END)
    plan.calm.append((BEGIN, END))


def irregular(plan: Plan) -> None:
    """Buys every ten to thirty days, without any regularity."""
    first = plan.known()
    plan.life.buys(first, END, plan.life.between(10, 30), IRREGULAR)
    plan.life.lives(first, END)
    plan.calm.append((BEGIN, END))


def seasonal(plan: Plan) -> None:
    """Buys for half of each year; warnings between the seasons are not judged."""
    life, summer = plan.life, plan.number % 2 == 0
    opens = 91.0 if summer else -92.0
    for year in range(4):
        begins = max(opens + 365.25 * year + life.between(0, 10), 0.0)
        ends = min(opens + 365.25 * year + 182.0, END)
        if begins >= ends:
            continue
        last = life.buys(begins, ends, plan.quick)
        life.browses(max(begins - SEASON_LOOKS_DAYS, 0.0), ends)
        if last > BEGIN:
            plan.calm.append((max(begins, BEGIN), last))
    life.is_content(0, END)


def holiday(plan: Plan) -> None:
    """A steady buyer who pauses once for two to three usual gaps, and returns."""
    life, first = plan.life, plan.known()
    leaves = life.buys(first, BEGIN + life.between(20, 150), plan.rhythm)
    life.browses(first, leaves)
    returns = leaves + life.between(2, 3) * plan.rhythm
    life.buys(returns, END, plan.rhythm)
    life.browses(min(returns, leaves + HOLIDAY_DAYS), END)
    life.is_content(first, END)
    plan.calm.append((BEGIN, END))


def slow_fade(plan: Plan) -> None:
    """A weekly buyer with gaps that grow to 21 days; the rhythm has changed once a gap is of 14."""
    life, first = plan.life, plan.known()
    day = life.buys(first, BEGIN + life.between(20, 100), 7.0)
    changed = None
    for gap in (9.0, 11.5, 14.0, 16.5, 19.0):
        if gap == 14.0:
            changed = day
        day = life.buy(day + life.gap(gap, 0.1))
    life.buys(day + life.gap(21.0, 0.1), END, 21.0, 0.1)
    life.lives(first, END)
    assert changed is not None
    plan.sign("slow_fade", changed, changed + RHYTHM_DAYS, "frequency_falling")


def rhythm_falls(plan: Plan) -> None:
    """A weekly buyer who changes to every 21 days from one day to the next."""
    life, first = plan.life, plan.known()
    changed = life.buys(first, BEGIN + life.between(20, 120), 7.0)
    life.buys(changed + life.gap(21.0, 0.1), END, 21.0, 0.1)
    life.lives(first, END)
    plan.sign("rhythm_falls", changed, changed + RHYTHM_DAYS, "frequency_falling")


def stop(plan: Plan) -> None:
    """A steady buyer who stops."""
    _settled(plan, BEGIN + 2 * plan.rhythm + plan.life.between(0, 90))
    plan.silent("stop", SILENCE)


def stop_again(plan: Plan) -> None:
    """Stops, comes back after the lapse length, buys six times, and stops for good."""
    _settled(plan, BEGIN + 2 * plan.quick + plan.life.between(0, 20), plan.quick)
    plan.silent("stop", SILENCE)
    gone = plan.life.bought()
    back = gone[-1] + lapse_days(gone) + plan.life.between(3, 15)
    _comes_back(plan, back, 6)
    plan.silent("stop_again", SILENCE, "slipping_again")


def won_back(plan: Plan) -> None:
    """Gone when the walk begins; comes back, buys three times, and slips again.

    All of it lies within the time for which a customer counts as won back.
    """
    life = plan.life
    away = lapse_days([0, plan.quick]) + life.between(10, 30)
    _settled(plan, BEGIN - away, plan.quick)
    _comes_back(plan, BEGIN + life.between(2, 10), 3)
    plan.silent("won_back", "slipping_again")


def complaint(plan: Plan) -> None:
    """A complaint stays open; purchases go on."""
    _settled(plan, END)
    day = _some_day(plan)
    # Events do not name the complaint that was closed: others would make it unclear which is open.
    cases = (Kind.COMPLAINT_OPENED, Kind.COMPLAINT_CLOSED)
    plan.life.events = [e for e in plan.life.events if e.kind not in cases or e.day < day - 1]
    opened = plan.life.says(day, Kind.COMPLAINT_OPENED)
    plan.sign("complaint", opened, opened + COMPLAINT_DAYS, "complaint_open")


def survey_drop(plan: Plan) -> None:
    """Satisfaction falls from 9 to 1."""
    _drops(plan, Kind.SURVEY, "survey_drop", "satisfaction_low")


def recommendation_drop(plan: Plan) -> None:
    """The intent to recommend falls from 9 to 1."""
    _drops(plan, Kind.RECOMMENDATION, "recommendation_drop", "recommendation_low")


def interaction_stop(plan: Plan) -> None:
    """Interactions stop; purchases go on."""
    life, first = plan.life, plan.known()
    life.buys(first, END, plan.rhythm)
    stops = _some_day(plan)
    life.browses(first, stops)
    life.is_content(first, END)
    plan.sign("interaction_stop", stops, stops + INTERACTION_DAYS, "interaction_falling")


def value_fall(plan: Plan) -> None:
    """Orders fall to a third of their value."""
    life, first = plan.life, plan.known()
    last = life.buys(first, BEGIN + life.between(10, 40), plan.rhythm)
    falls = last + life.gap(plan.rhythm, 0.25)
    life.buys(falls, END, plan.rhythm, level=1 / 3)
    life.lives(first, END)
    lower = [day for day in life.bought() if day >= falls]
    plan.sign("value_fall", falls, lower[VALUE_ORDERS - 1] + TICK_DAYS, "value_falling")


def first_only(plan: Plan) -> None:
    """A first purchase within the walk, and no second."""
    bought = plan.life.buy(BEGIN + plan.life.between(5, 90))
    plan.sign("first_only", bought, None, "new_and_quiet")


def left(plan: Plan) -> None:
    """Gone since long before the walk: part of any base, and models learn from them. Not judged."""
    life, first = plan.life, plan.life.between(0, 300)
    stops = life.between(first + 60, BEGIN - 30)
    life.buys(first, stops, plan.rhythm, IRREGULAR if plan.number % 4 == 0 else 0.25)
    life.lives(first, stops)


def newcomer(plan: Plan) -> None:
    """Came during the history; two of three bought again. Not judged."""
    life, first = plan.life, plan.life.between(0, BEGIN)
    if plan.number % 3:
        life.buys(first, END, plan.rhythm, IRREGULAR)
        life.lives(first, END)
    else:
        life.buy(first)


Maker = Callable[[Plan], None]
CALM: Final[tuple[Maker, ...]] = (steady, irregular, seasonal, holiday)
"""Kinds of customers without any sign."""
SIGNS: Final[tuple[Maker, ...]] = (
    slow_fade, rhythm_falls, stop, stop_again, won_back, complaint, survey_drop,
    recommendation_drop, interaction_stop, value_fall, first_only,
)  # fmt: skip
OTHERS: Final[tuple[Maker, ...]] = (left, newcomer)


def customers(seed: int, signs: int, calm: int, others: int) -> list[Customer]:
    """Makes customers: so many of each kind with a sign, of each calm and of each other kind."""
    found = []
    for kinds, count in ((SIGNS, signs), (CALM, calm), (OTHERS, others)):
        for make in kinds:
            word = int.from_bytes(make.__name__.encode())
            found += [_customer(make, [seed, word, number], number) for number in range(count)]
    return found


def _customer(make: Maker, seed: Sequence[int], number: int) -> Customer:
    plan = Plan(Life(np.random.default_rng(seed)), number)
    make(plan)
    events = sorted((e for e in plan.life.events if e.day < END), key=lambda e: e.day)
    return Customer(f"{make.__name__}-{number:04}", make.__name__, events, plan.signs, plan.calm)


def _settled(plan: Plan, until: float, rhythm: float | None = None) -> float:
    """Lives steadily until then; returns the day of the last order."""
    first = plan.known()
    last = plan.life.buys(first, until, rhythm or plan.rhythm)
    plan.life.lives(first, until)
    return last


def _comes_back(plan: Plan, day: float, orders: int) -> None:
    for _ in range(orders):
        last = plan.life.buy(day)
        day = last + plan.life.gap(plan.quick, 0.25)
    plan.life.lives(last, last + 1.0)


def _some_day(plan: Plan) -> float:
    return BEGIN + plan.life.between(20, 150)


def _drops(plan: Plan, kind: Kind, name: str, cause: str) -> None:
    """Plants a good answer, and then a very bad one."""
    _settled(plan, END)
    day = _some_day(plan)
    # Other answers of the same kind after the first would hide the planted one.
    plan.life.events = [e for e in plan.life.events if e.kind != kind or e.day < day - 60]
    plan.life.says(day - plan.life.between(10, 50), kind, 9.0)
    shown = plan.life.says(day, kind, 1.0)
    plan.sign(name, shown, shown + ANSWER_DAYS, cause)
