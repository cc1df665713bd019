"""The Qini curve: how many more come back when tasks go to the best of a ranking first.

Over customers in the order of a score, the curve at a share u of them is the effect summed over
that share, per customer of all (Radcliffe 2007). Effects of single customers are never seen; the
doubly robust pseudo-outcomes take their place, which have the same mean. Equal scores are in random
order: their part of the curve is straight. The Qini coefficient is the area between the curve and
the straight line of a random order.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from services.alerts.core.intervals import Interval, Pick, mean_interval
from shared.kernel.arrays import Floats

POINTS: Final = 20
"""Points of a stored curve: every twentieth of the customers."""
ALPHA: Final = 0.1
"""Two-sided: learned effects that are no better pass in one of twenty comparisons. They are shrunk
by then, so that such a pass costs little."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A Qini curve; `gain` at each of `POINTS` + 1 evenly spaced shares from 0 to 1."""

    coefficient: float
    gain: list[float]
    """Customers brought back by tasks about that share, per customer of all."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Subjects of an out-of-time test with two rankings; columns of length n."""

    phi: Floats
    """Pseudo-outcomes, of outcome models fitted on earlier subjects."""
    learned: Floats
    """Place in the ranking by the learned effects, 0 (last) to 1 (first); ties share one."""
    rate: Floats
    """The same by the playbooks' rates."""


def places(score: Floats) -> Floats:
    """Return each score's place, evenly spaced in (0, 1), highest first; equal scores share one.

    >>> places(np.array([3.0, 1.0, 1.0, 9.0])).round(3).tolist()
    [0.625, 0.25, 0.25, 0.875]
    """
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    del values
    ends = np.cumsum(counts)
    middle: Floats = (ends - counts / 2)[inverse] / len(score)
    return middle


def curve(phi: Floats, place: Floats) -> Curve:
    """Return the curve of pseudo-outcomes in the order of their places."""
    n = len(phi)
    values, inverse, counts = np.unique(-place, return_inverse=True, return_counts=True)
    del values
    total = np.zeros(len(counts))
    np.add.at(total, inverse, phi)
    share = np.concatenate([[0.0], np.cumsum(counts) / n])
    gain = np.concatenate([[0.0], np.cumsum(total) / n])
    at = np.linspace(0.0, 1.0, POINTS + 1)
    coefficient = float(np.mean(phi * (place - 0.5)))
    return Curve(coefficient=coefficient, gain=np.interp(at, share, gain).tolist())


def advantage(scored: Scored, pick: Pick) -> tuple[float, Interval]:
    """Return the learned ranking's Qini coefficient minus that of the rates, with its interval.

    The interval is a bootstrap over customers; places stay those of all.
    """
    gain = scored.phi * (scored.learned - scored.rate)
    return float(gain.mean()), mean_interval(gain, pick, ALPHA)
