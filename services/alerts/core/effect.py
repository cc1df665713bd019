"""Computes the effect of the tasks: treated customers against held-out customers.

A subject is a customer's first warning under a policy: later warnings come after a treatment and
would compare only the customers that it did not keep. Only warnings that the draw could have held
out are compared. An effect is claimed only where the interval that is valid at any time excludes
zero; too few data give the claim `not_enough_data`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import numpy as np

from services.alerts.core.intervals import (
    Interval,
    Pick,
    anytime,
    mean_difference,
    newcombe,
    wilson,
)
from shared.kernel.arrays import Floats

ENOUGH: Final = 50
"""Measured subjects that each arm needs for a claim: with fewer, one customer moves a share by more
than two points."""
GROUPS_MAX: Final = 100
"""Most groups of one dimension that are compared: those with most subjects."""
DIMENSIONS: Final = ("playbook", "cause", "grade", "owner", "segment", "period")
Dimension = Literal["playbook", "cause", "grade", "owner", "segment", "period"]
PRIOR: Final = 200.0
"""Weight of an assumed save rate, in subjects: with so many, a share of 0.1 is known to about four
points."""
Claim = Literal["helps", "harms", "no_effect_seen", "not_enough_data"]


@dataclass(frozen=True, slots=True)
class MeasuredSubject:
    """A warned customer with a complete window, and what was measured in it."""

    treated: bool
    returned: bool
    revenue: float
    at: datetime
    playbook: str
    cause: str
    grade: str | None
    owner: str | None
    segments: Sequence[str]


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison."""

    n: int
    returned: int
    rate: float | None
    interval: Interval
    revenue_mean: float | None


@dataclass(frozen=True, slots=True)
class Effect:
    """Treated against held out. Differences are treated minus held out."""

    treated: Arm
    held_out: Arm
    uplift: float | None
    """Difference of the shares that bought again within the horizon."""
    interval: Interval
    """Of the uplift (Newcombe); valid for one evaluation that was planned beforehand."""
    anytime: Interval
    """Of the uplift; valid however often it is evaluated. The claim rests on it."""
    revenue_uplift: float | None
    """Difference of the mean revenue per customer."""
    revenue_interval: Interval
    saved: float | None
    """Customers kept: uplift x number of treated customers."""
    claim: Claim


def compare(subjects: Sequence[MeasuredSubject], pick: Pick) -> Effect:
    """Return the effect among these subjects; `pick` draws for the bootstrap."""
    sides = [[s for s in subjects if s.treated], [s for s in subjects if not s.treated]]
    treated, held_out = (_arm(side) for side in sides)
    counts = (treated.returned, treated.n, held_out.returned, held_out.n)
    always = anytime(*counts)
    uplift = None
    if treated.rate is not None and held_out.rate is not None:
        uplift = treated.rate - held_out.rate
    money = None
    if treated.revenue_mean is not None and held_out.revenue_mean is not None:
        money = treated.revenue_mean - held_out.revenue_mean
    return Effect(
        treated=treated,
        held_out=held_out,
        uplift=uplift,
        interval=newcombe(*counts),
        anytime=always,
        revenue_uplift=money,
        revenue_interval=mean_difference(_money(sides[0]), _money(sides[1]), pick),
        saved=None if uplift is None else uplift * treated.n,
        claim=_claim(treated.n, held_out.n, always),
    )


def by(dimension: Dimension, subjects: Sequence[MeasuredSubject], pick: Pick) -> dict[str, Effect]:
    """Return the effect in each group; a customer of several segments counts in each of them."""
    groups: dict[str, list[MeasuredSubject]] = {}
    for subject in subjects:
        for name in _NAMES[dimension](subject):
            groups.setdefault(name, []).append(subject)
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))[:GROUPS_MAX]
    order = sorted(largest) if dimension == "period" else largest
    return {name: compare(groups[name], pick) for name in order}


def save_rate(assumed: float, effect: Effect) -> float:
    """Return the save rate of a playbook: the assumed rate, moved towards the measured one.

    The measured rate is weighted by the subjects of a balanced comparison as informative as this
    one (twice the harmonic mean); a harm counts as a save rate of 0.
    """
    if effect.uplift is None or effect.claim == "not_enough_data":
        return assumed
    n, other = effect.treated.n, effect.held_out.n
    weight = 4 * n * other / (n + other)
    measured = max(0.0, effect.uplift)
    return (PRIOR * assumed + weight * measured) / (PRIOR + weight)


@dataclass(frozen=True, slots=True)
class Point:
    """The uplift and its interval as known at a time."""

    at: datetime
    uplift: float
    anytime: Interval


def growth(subjects: Sequence[MeasuredSubject]) -> list[Point]:
    """Return the difference at the end of each month, over all subjects until then."""
    months = sorted({(s.at.year, s.at.month) for s in subjects})
    found = []
    for month in months:
        until = [s for s in subjects if (s.at.year, s.at.month) <= month]
        treated = [s.returned for s in until if s.treated]
        others = [s.returned for s in until if not s.treated]
        if treated and others:
            counts = (sum(treated), len(treated), sum(others), len(others))
            gap = counts[0] / counts[1] - counts[2] / counts[3]
            found.append(Point(max(s.at for s in until), gap, anytime(*counts)))
    return found


def _arm(side: Sequence[MeasuredSubject]) -> Arm:
    n, returned = len(side), sum(s.returned for s in side)
    return Arm(
        n=n,
        returned=returned,
        rate=returned / n if n else None,
        interval=wilson(returned, n),
        revenue_mean=float(_money(side).mean()) if n else None,
    )


def _money(side: Sequence[MeasuredSubject]) -> Floats:
    return np.array([s.revenue for s in side], dtype=np.float64)


def _claim(n: int, other: int, interval: Interval) -> Claim:
    if min(n, other) < ENOUGH:
        return "not_enough_data"
    if not interval.without(0.0):
        return "no_effect_seen"
    return "helps" if interval.low > 0 else "harms"


_NAMES: Mapping[Dimension, Callable[[MeasuredSubject], Sequence[str]]] = {
    "playbook": lambda s: [s.playbook],
    "cause": lambda s: [s.cause],
    "grade": lambda s: [s.grade or "(none)"],
    "owner": lambda s: [s.owner or "(none)"],
    "segment": lambda s: s.segments,
    "period": lambda s: [f"{s.at:%Y-%m}"],
}
