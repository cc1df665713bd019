"""Turns feature rows into the columns of a linear model.

Each feature becomes sign(x) ln(1 + |x|), cut at the outer percentiles of the data that the encoding
was made from, and standardised: z. It has a column for z and one for |z|, since those who do not
respond are often at both ends (as good as gone, and not at risk at all). An unknown value becomes
the mean, 0. A feature that is often unknown also gets a column that marks it as unknown.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.kernel.arrays import Flags, Floats

CUT: Final = 0.01
"""Share of the known values cut at either end: no single customer moves a weight."""
UNKNOWN_MIN: Final = 0.02
"""Least share of unknown values, and of known ones, for a column of its own."""


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """Centres and scales of p features; lists of length p."""

    low: list[float]
    high: list[float]
    mean: list[float]
    scale: list[float]
    """Standard deviation; 0: the feature shows nothing, and its columns stay 0."""
    bend: list[float]
    """Mean of |z|."""
    unknown: list[float | None]
    """Share of unknown values where the feature has a column for it."""

    def __call__(self, features: Floats) -> Floats:
        """Return float64[n, q] for features float64[n, p]; every value is finite.

        >>> made = encoding(np.array([[1.0], [3.0], [np.nan]]))
        >>> made(np.array([[np.nan]])).shape
        (1, 3)
        """
        scale, missing = np.array(self.scale), np.isnan(features)
        z = np.clip(_logarithmic(features), self.low, self.high) - np.array(self.mean)
        known = ~missing & (scale > 0)
        z = np.where(known, z / np.where(scale > 0, scale, 1.0), 0.0)
        bent = np.where(known, np.abs(z) - np.array(self.bend), 0.0)
        marked = [at for at, share in enumerate(self.unknown) if share is not None]
        share = np.array([s for s in self.unknown if s is not None])
        marks = (missing[:, marked] - share) / np.sqrt(share * (1 - share))
        return np.hstack([z, bent, marks])


def encoding(features: Floats) -> Encoding:
    """Return the encoding of the features float64[n, p] of a training part, n at least 1."""
    low, high, mean, scale, bend = [], [], [], [], []
    unknown: list[float | None] = []
    for column in features.T:
        known = _logarithmic(column[~np.isnan(column)])
        ends = np.quantile(known, [CUT, 1 - CUT]) if len(known) else np.zeros(2)
        cut = np.clip(known, *ends)
        middle = float(cut.mean()) if len(cut) else 0.0
        spread = float(cut.std()) if len(cut) else 0.0
        low.append(float(ends[0]))
        high.append(float(ends[1]))
        mean.append(middle)
        # The spread of equal values is a rounding error.
        scale.append(spread if spread > 1e-9 * (1 + abs(middle)) else 0.0)
        bend.append(float(np.abs(cut - middle).mean()) / spread if spread else 0.0)
        share = 1 - len(known) / len(column)
        unknown.append(share if UNKNOWN_MIN <= share <= 1 - UNKNOWN_MIN else None)
    return Encoding(low=low, high=high, mean=mean, scale=scale, bend=bend, unknown=unknown)


def _logarithmic(values: Floats) -> Floats:
    return np.sign(values) * np.log1p(np.abs(values))


def one_hot(names: NDArray[np.object_], of: list[str]) -> Flags:
    """Return bool[n, k]: which of `of` each name is."""
    return np.stack([names == name for name in of], axis=1)
