"""Ridge regression with a penalty that follows from the data (empirical Bayes).

y = a + Z b + e with b ~ N(0, v I) and e ~ N(0, s / w). The prior variance v maximises the marginal
likelihood of the least-squares coefficients (Efron & Morris 1973; MacKay 1992): columns that
explain nothing beyond chance give v = 0, and every prediction is the mean.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.kernel.arrays import Floats

GRID: Final = np.concatenate([[0.0], np.logspace(-4, 2, 61)])
"""Prior variances tried, as a multiple of the typical sampling variance of a coefficient."""
FLAT: Final = 1e-9
"""Directions with less than this share of the largest information carry none."""


@dataclass(frozen=True, slots=True)
class Ridge:
    """A fit; `mean` and `weights` predict, the others show how sure that is."""

    mean: float
    centre: Floats
    """float64[q]: weighted means of the columns."""
    weights: Floats
    """float64[q]: posterior mean of b."""
    covariance: Floats
    """float64[q, q]: posterior covariance of b."""
    mean_variance: float
    """Sampling variance of the mean."""

    def predict(self, z: Floats) -> Floats:
        """Return float64[n] for columns float64[n, q]."""
        return self.mean + (z - self.centre) @ self.weights


def ridge(z: Floats, y: Floats, w: Floats | None = None) -> Ridge:
    """Return the fit of y float64[n] on z float64[n, q], with weights w float64[n] (None: equal).

    Weights are inverse to the variance of y, up to a factor. Needs at least two rows.
    """
    n, q = z.shape
    w = np.ones(n) if w is None else w / w.mean()
    total = w.sum()
    mean, centre = float(w @ y / total), w @ z / total
    zc, yc = z - centre, y - mean
    information, directions = np.linalg.eigh((zc * w[:, None]).T @ zc)
    kept = information > FLAT * max(float(information[-1]) if q else 0.0, 1.0)
    d, v = information[kept], directions[:, kept]
    b = (v.T @ (zc.T @ (w * yc))) / d
    # All of the variance counts as noise: little of an outcome is explained, and with few rows the
    # residuals would suggest that all of it is.
    noise = float(w @ yc**2) / (n - 1)
    shrink, spread = _shrunk(b, noise / d)
    return Ridge(
        mean=mean,
        centre=centre,
        weights=v @ (b * shrink),
        covariance=(v * spread) @ v.T,
        mean_variance=float(noise / total),
    )


def _shrunk(b: Floats, sampling: Floats) -> tuple[Floats, Floats]:
    """Return what is left of each coefficient, as a share, and its posterior variance.

    Both are averaged over the prior variances by their marginal likelihood given b.
    """
    if not len(b) or not sampling.max() > 0:
        return np.ones(len(b)), np.zeros(len(b))
    prior = (GRID * float(np.median(sampling)))[:, None]
    total = prior + sampling
    evidence = -(np.log(total) + b**2 / total).sum(axis=1) / 2
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    shares = prior / total
    share = weight @ shares
    within = weight @ (shares * sampling)
    return share, within + weight @ (shares - share) ** 2 * b**2
