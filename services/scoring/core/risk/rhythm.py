"""The rhythm rule, used without a model: each customer against their own buying rhythm.

It gives a probability without training. It never reads money, interactions, feedback or other
customers: a customer's number does not depend on who else is in the batch.

The rule is MBG/NBD (Batislam, Denizel & Filiztekin 2007, Int. J. Res. Marketing 24(3) 201-209;
the BG/NBD of Fader, Hardie & Lee 2005 in which a customer may also leave right after the
first purchase) with one fixed, weak prior instead of a fit. With x repeat purchase days over
t days, then s days of silence, T = t + s, rate ~ Gamma(r, alpha), leaving ~ Beta(a, b):

    P(alive)               = 1 / (1 + a / (b + x) * ((alpha + T) / (alpha + t)) ^ (r + x))
    P(no purchase | alive) = ((alpha + T) / (alpha + T + H)) ^ (r + x)
    P(no purchase in H)    = 1 - P(alive) * (1 - P(no purchase | alive))

P(no purchase | alive) is that of a customer who does not leave within H. Both factors grow
with s, so the risk never falls while a customer is silent. Own gaps outweigh the prior
after a few purchases; a customer with one purchase gets the prior, updated by the silence.

Gaps that are more regular than chance are Erlang-k, with k by the customer's own gaps
(`regularity`): r + x becomes k (r + x), and each power of (alpha + t) / (alpha + T) becomes the
regularised incomplete beta function I((alpha + t) / (alpha + T); k (r + x), k) (`btyd`). The risk
of such a customer is lower when the next purchase is due, and rises when it is overdue.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import betainc

from services.scoring.core.features.registry import column
from services.scoring.core.risk.regularity import of_customers
from shared.kernel.arrays import Flags, Floats, Ints


@dataclass(frozen=True, slots=True)
class Prior:
    """What is assumed of a customer before any purchase is known.

    Chosen on the training cutoffs (never the test cutoffs) of three public purchase
    histories as one compromise for trades from groceries to music; the result is flat around it.
    """

    purchases: float = 0.5
    """r: with `days`, one purchase day in eight weeks, held weakly."""
    days: float = 28.0
    """alpha, days."""
    leaving: float = 0.25
    """a: with `staying`, about one purchase in twenty is the last."""
    staying: float = 5.0
    """b."""


PRIOR: Final = Prior()


def assessable(x: Floats) -> Flags:
    """bool[n]: the customer has bought at least once. Others are prospects and cannot churn."""
    return np.asarray(column(x, "purchases") > 0)


def expected_gap_days(x: Floats, prior: Prior = PRIOR) -> Floats:
    """Return the usual gap, held towards the prior by few purchases: (alpha + t) / (r + x)."""
    repeats, span = _repeats(x)
    return np.asarray((prior.days + span) / (prior.purchases + repeats))


def _repeats(x: Floats) -> tuple[Floats, Floats]:
    """Return repeat purchase days, and the days from the first purchase day to the newest."""
    repeats = column(x, "purchase_days") - 1
    return repeats, np.nan_to_num(column(x, "gap_mean_days")) * repeats


def history(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return x, t_x and age of `btyd`, in days: repeat purchase days, days to the newest, age."""
    repeats = np.maximum(column(x, "purchase_days") - 1, 0.0)
    span = np.nan_to_num(column(x, "gap_mean_days")) * repeats
    return repeats, span, span + column(x, "recency_days")


def churn_by_rhythm(x: Floats, horizon_days: float | Floats, prior: Prior = PRIOR) -> Floats:
    """P(no purchase in the next `horizon_days` days), float64[n]; NaN for prospects.

    `x` is float64[n, F] of `features`; the horizon is one number or float64[n]. Reads the
    silence, the purchase days, their mean gap and its variation.
    """
    silence = column(x, "recency_days")
    repeats, span = _repeats(x)
    total = prior.days + span + silence
    weight = prior.purchases + repeats
    # In logarithms: 60 repeats and ten silent years would overflow as a power.
    log_odds_left = np.log(prior.leaving / (prior.staying + repeats)) + weight * np.log(
        total / (prior.days + span)
    )
    with np.errstate(invalid="ignore"):  # prospects are NaN by contract
        alive = np.exp(-np.logaddexp(0.0, log_odds_left))
    returns = -np.expm1(weight * np.log(total / (total + horizon_days)))
    risk = np.asarray(1.0 - alive * returns)
    k = of_customers(x)
    regular = np.flatnonzero(k > 1.0)
    if len(regular):
        horizon = np.broadcast_to(horizon_days, len(x))[regular]
        risk[regular] = _regular(k, repeats, prior.days + span, total, prior, regular, horizon)
    return risk


def _regular(
    k: Floats,
    repeats: Floats,
    bought: Floats,
    total: Floats,
    prior: Prior,
    rows: Ints,
    horizon: Floats,
) -> Floats:
    """P(no purchase in the horizon) of the rows with Erlang-k gaps, k > 1."""
    k, repeats, bought, total = (column[rows] for column in (k, repeats, bought, total))
    phases = k * (prior.purchases + repeats)
    stays = prior.staying + repeats
    now = stays * betainc(phases, k, bought / total)
    later = stays * betainc(phases, k, bought / (total + horizon))
    return np.asarray((prior.leaving + later) / (prior.leaving + now))
