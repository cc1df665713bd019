"""Gamma-Gamma: the expected value of a customer's purchase.

The expected value is held towards the base's mean while the customer's own purchases are few. How
often customers buy is modelled elsewhere (`btyd`).

Each purchase of a customer is worth z ~ Gamma(p, nu), nu ~ Gamma(q, v) across customers, and
independent of how often they buy: Fader, Hardie & Lee (2005), "RFM and CLV: using iso-value
curves", J. Marketing Research 42(4) 415-430; Fader & Hardie (2013), "The Gamma-Gamma model of
monetary value", brucehardie.com/notes/025.

One customer's influence on a likelihood is unlimited, so means beyond the outer fences of the
base count as the fence (winsorised): three interquartile ranges of their logarithms, which Tukey
(1977), "Exploratory Data Analysis", section 2D, calls "far out". Of lognormal means one in 400,000
lies there. In a small base one customer could still turn the fit from "all pay alike" to "each pays
their own mean"; a prior on p and q, worth about twenty customers, prevents both extremes.

    count    purchases with an amount, of which `mean` is the mean net value
    mean     > 0; a customer with refunds that reach the purchases has none

>>> published = Spend(p=6.25, q=3.74, v=15.44)  # CDNOW, US dollars
>>> expected_spend(published, np.array([2.0, 0.0]), np.array([22.35, 0.0])).round(2)
array([24.66, 35.22])
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, psi

from services.scoring.core.features.state import AMOUNT_MIN
from shared.kernel.arrays import Floats

LOG_BOUND: Final = 9.0
"""p and v (in mean purchases) lie within e^-9 .. e^9."""
Q_MIN: Final = 1.01
"""At q <= 1 the mean purchase of the base is infinite; such a fit predicts nothing."""
STEPS_MAX: Final = 500
"""L-BFGS-B needs about 40."""
SPENDERS_MIN: Final = 20
"""With fewer customers with a mean purchase, three parameters are a guess."""
FENCE: Final = 3.0
"""Interquartile ranges beyond the quartiles, of the logarithms of the means."""
FENCE_MIN: Final = math.log(10.0)
"""Least distance of a fence from its quartile: where nearly all pay one price, the quartiles are
equal, and a purchase of twice as much is no error."""
PRIOR: Final = ((math.log(3.0), 0.7), (math.log(4.0), 0.35))
"""Mean and standard deviation of ln p and ln q: the public sets have p 0.5-7.7 and q 3.6-7.1. Of
600 customers it moves the median expected value by 0.7 %, of thousands by 0.3 % at most."""
MEAN_MIN: Final = AMOUNT_MIN
"""Reporting currency: a smaller remainder of a purchase is a rounding error of its refund."""


@dataclass(frozen=True, slots=True)
class Spend:
    """The fitted parameters: z ~ Gamma(p, nu), nu ~ Gamma(q, v)."""

    p: float
    q: float
    v: float
    """In the money unit of the columns."""
    most: float | None = None
    """The upper fence: a mean above it is improbable in this base, and counts as this much. None:
    no limit, in a base that was measured before fences existed."""

    @property
    def limit(self) -> float:
        """`most` as a number, infinite without a limit."""
        return math.inf if self.most is None else self.most


def log_likelihood(spend: Spend, count: Floats, mean: Floats) -> Floats:
    """Return the log-likelihood of each customer's mean, shape [n]; count > 0, mean > 0."""
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
    """Fit the parameters of a base with `PRIOR`; means beyond the fences count as the fence.

    For customers with count > 0 and mean > 0; deterministic. Raises ValueError where fewer than
    `SPENDERS_MIN` of them are given, or a value breaks this.
    """
    if len(count) < SPENDERS_MIN:
        raise ValueError(f"{len(count)} customers with amounts, at least {SPENDERS_MIN} are needed")
    if not ((count > 0) & (mean > 0) & np.isfinite(count) & np.isfinite(mean)).all():
        raise ValueError("count, mean: every value is a finite number above 0")
    least, most = fences(mean)
    return replace(likeliest(count, np.clip(mean, least, most), prior_weight=1.0), most=most)


def likeliest(count: Floats, mean: Floats, prior_weight: float = 0.0) -> Spend:
    """Fit by maximum likelihood over customers with count > 0 and mean > 0. Deterministic.

    `prior_weight`: how many times `PRIOR` counts.
    """
    unit = float(mean.mean())
    scaled = mean / unit
    (centre, spread), weight = np.transpose(PRIOR), prior_weight / len(count)

    def loss(logs: Floats) -> tuple[float, Floats]:
        p, q, v = np.exp(logs)
        beside = (logs[:2] - centre) / spread
        shape, total = p * count, v + count * scaled
        value = -log_likelihood(Spend(p, q, v), count, scaled).mean()
        rest = psi(shape + q) - np.log(total)
        slope = np.array(
            [
                (count * (rest - psi(shape) + np.log(scaled * count))).mean() * p,
                (rest - psi(q) + np.log(v)).mean() * q,
                (q / v - (shape + q) / total).mean() * v,
            ]
        )
        slope[:2] -= weight * beside / spread
        return float(value + weight * (beside @ beside) / 2), -slope

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


def fences(mean: Floats) -> tuple[float, float]:
    """Return the range of means that a base supports; mean > 0.

    >>> [round(fence, 2) for fence in fences(np.array([10.0] * 9 + [1e15]))]
    [1.0, 100.0]
    """
    low, high = np.quantile(np.log(mean), (0.25, 0.75))
    reach = max(FENCE * (high - low), FENCE_MIN)
    return math.exp(low - reach), math.exp(high + reach)


def expected_spend(spend: Spend, count: Floats, mean: Floats) -> Floats:
    """Return E[value of a purchase | own mean], shape [n] (2005, eq. 5); base mean at count 0.

    p (v + count * mean) / (p * count + q - 1). A negative mean (more refunded than bought)
    counts as 0, since no purchase is worth less than nothing; one above the fence as the fence.
    """
    own = np.where(count > 0, np.clip(mean, 0.0, spend.limit), 0.0)
    return np.asarray(spend.p * (spend.v + count * own) / (spend.p * count + spend.q - 1))
