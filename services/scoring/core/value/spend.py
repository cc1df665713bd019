"""Gamma-Gamma: what a purchase of a customer is worth, and the lifetime value that follows.

What it is for: an expected value per purchase that is held towards the base's mean while own
purchases are few. It knows nothing of how often anybody buys (`btyd` does).

Each purchase of a customer is worth z ~ Gamma(p, nu), nu ~ Gamma(q, v) across customers, and
independent of how often they buy: Fader, Hardie & Lee (2005), "RFM and CLV: using iso-value
curves", J. Marketing Research 42(4) 415-430; Fader & Hardie (2013), "The Gamma-Gamma model of
monetary value", brucehardie.com/notes/025.

    count    purchases with an amount, of which `mean` is the mean net value
    mean     > 0; a customer whose refunds reach the purchases has none

>>> published = Spend(p=6.25, q=3.74, v=15.44)  # CDNOW, US dollars
>>> expected_spend(published, np.array([2.0, 0.0]), np.array([22.35, 0.0])).round(2)
array([24.66, 35.22])
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, psi

Floats = NDArray[np.float64]

LOG_BOUND: Final = 9.0
"""p and v (in mean purchases) lie within e^-9 .. e^9."""
Q_MIN: Final = 1.01
"""At q <= 1 the mean purchase of the base is infinite; such a fit foretells nothing."""
STEPS_MAX: Final = 500
"""L-BFGS-B needs about 40."""
SPENDERS_MIN: Final = 20
"""Customers with a mean purchase below which three parameters are a guess."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What is fitted: z ~ Gamma(p, nu), nu ~ Gamma(q, v)."""

    p: float
    q: float
    v: float
    """In the unit of money that the columns have."""


def log_likelihood(spend: Spend, count: Floats, mean: Floats) -> Floats:
    """Of each customer's mean purchase, shape [n]; count > 0, mean > 0."""
    p, q, v = spend.p, spend.q, spend.v
    shape = p * count
    return np.asarray(
        gammaln(shape + q)
        - gammaln(shape)
        - gammaln(q)
        + q * np.log(v)
        + (shape - 1) * np.log(mean)
        + shape * np.log(count)
        - (shape + q) * np.log(v + count * mean)
    )


def fit(count: Floats, mean: Floats) -> Spend:
    """Maximum likelihood over customers with count > 0 and mean > 0. Deterministic.

    Raises ValueError where fewer than `SPENDERS_MIN` of them are given, or a value breaks this.
    """
    if len(count) < SPENDERS_MIN:
        raise ValueError(f"{len(count)} customers with amounts, at least {SPENDERS_MIN} are needed")
    if not ((count > 0) & (mean > 0) & np.isfinite(count) & np.isfinite(mean)).all():
        raise ValueError("count, mean: every value is a finite number above 0")
    unit = float(mean.mean())
    scaled = mean / unit

    def loss(logs: Floats) -> tuple[float, Floats]:
        p, q, v = np.exp(logs)
        shape, total = p * count, v + count * scaled
        value = -log_likelihood(Spend(p, q, v), count, scaled).mean()
        rest = psi(shape + q) - np.log(total)
        slope = [
            (count * (rest - psi(shape) + np.log(scaled * count))).mean() * p,
            (rest - psi(q) + np.log(v)).mean() * q,
            (q / v - (shape + q) / total).mean() * v,
        ]
        return float(value), -np.array(slope)

    found = minimize(
        loss,
        np.log([2.0, 3.0, 2.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LOG_BOUND, LOG_BOUND), (np.log(Q_MIN), LOG_BOUND), (-LOG_BOUND, LOG_BOUND)],
        options={"maxiter": STEPS_MAX, "ftol": 1e-13, "gtol": 1e-8},
    )
    p, q, v = np.exp(found.x)
    return Spend(p=float(p), q=float(q), v=float(v * unit))


def expected_spend(spend: Spend, count: Floats, mean: Floats) -> Floats:
    """E[value of a purchase | own mean], shape [n] (2005, eq. 5); the base's mean at count 0.

    p (v + count * mean) / (p * count + q - 1). A negative mean (more refunded than bought)
    counts as 0: what comes back cannot be less than nothing.
    """
    own = np.where(count > 0, np.maximum(mean, 0.0), 0.0)
    return np.asarray(spend.p * (spend.v + count * own) / (spend.p * count + spend.q - 1))
