"""The measured base of living customers: quantiles, and the parameters of both models.

Everything that compares one customer with the others is measured on a sample and kept as a few
hundred numbers, so that an assessment reads no other customer. The service refreshes it in
bounded steps (`handlers/refresh_value_base`); this module never reads a table.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from services.scoring.core.features.registry import feature_index
from services.scoring.core.risk import btyd
from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.risk.rhythm import PRIOR, assessable, history
from services.scoring.core.value import spend as spending
from services.scoring.core.value.affinity import Counts, shares
from services.scoring.core.value.grades import grade_score, referral_value, relationship_value
from services.scoring.core.value.lifecycle import BEHAVIOURS, behaviour
from services.scoring.core.value.lifetime import Lifetime, lifetime
from services.scoring.core.value.money import money
from services.scoring.core.value.policy import ValuePolicy
from services.scoring.core.value.quality import Limits, traffic_limit
from services.scoring.core.value.quantiles import GRID, Grid, grid
from shared.kernel.arrays import Floats

CUSTOMERS_MIN: Final = 30
"""With fewer living customers, a quintile is a handful of people and means nothing."""
FITTED_MIN: Final = 100
"""With fewer customers, four BTYD parameters are a guess: the rule's prior is used instead."""
RECENCY: Final = feature_index["recency_days"]
DAYS: Final = feature_index["purchase_days"]
ENGAGED: Final = feature_index["interactions_decayed_90"]
CHURNED: Final = BEHAVIOURS.index("churned")


@dataclass(frozen=True, slots=True)
class Base:
    """A measured base. Grids are the 0, 1, ... 100 % quantiles, ascending."""

    customers: int
    """Customers in the sample with a purchase."""
    living: int
    """Those of them who have not churned; the quantiles are theirs."""
    buying: btyd.Parameters
    """In days. Fitted on all customers: a fit without the churned would find that none leave."""
    spend: spending.Spend | None
    """None where too few purchases have amounts: no customer has a lifetime value then."""
    recency: Grid
    frequency: Grid
    monetary: Grid
    engagement: Grid
    value: Grid
    score: Grid
    categories: tuple[float, ...] = ()
    """Mean share of each bucket of the category sketch; empty where no customer has a category."""
    traffic_limit: float | None = None
    """`quality.traffic_limit`; None in a base that was measured before it existed."""
    usual_value: float | None = None
    """Median lifetime value of the living customers, reporting currency; None where none is known,
    and in a base that was measured before it existed."""

    @property
    def limits(self) -> Limits:
        """The greatest values of one customer that this base supports."""
        return Limits(
            amount=math.inf if self.spend is None else self.spend.limit,
            traffic=math.inf if self.traffic_limit is None else self.traffic_limit,
        )


def measure(
    x: Floats, influence: Floats, categories: Counts, policy: ValuePolicy, clock: LapseClock
) -> Base:
    """Measure a sample, float64[n, F] of `features`, all at the same time.

    `influence` float64[n], 0-1 (`grades.influence`); `categories` uint32[n, 16], the state's
    sketch. `clock` decides which customers have churned. Raises ValueError with fewer than
    `CUSTOMERS_MIN` living customers. Deterministic.
    """
    bought = assessable(x)
    x, influence, categories = x[bought], influence[bought], categories[bought]
    alive = behaviour(silences_of(x, clock)) != CHURNED
    if alive.sum() < CUSTOMERS_MIN:
        raise ValueError(
            f"{int(alive.sum())} living customers, at least {CUSTOMERS_MIN} are needed"
        )
    repeats, span, age = history(x)
    buying = btyd.Parameters(
        PRIOR.purchases, PRIOR.days, PRIOR.leaving, PRIOR.staying, policy.model
    )
    if len(x) >= FITTED_MIN:
        buying = btyd.fit(repeats, span, age, model=policy.model)
    cash = money(x)
    priced = (cash.occasions > 0) & (cash.mean >= spending.MEAN_MIN)
    spend = None
    if priced.sum() >= spending.SPENDERS_MIN:
        spend = spending.fit(cash.occasions[priced], cash.mean[priced])
    living, cash = x[alive], money(x[alive])
    empty = (0.0,) * GRID
    base = Base(
        customers=len(x),
        living=len(living),
        buying=buying,
        spend=spend,
        recency=grid(living[:, RECENCY]),
        frequency=grid(living[:, DAYS]),
        monetary=grid(cash.net),
        engagement=grid(living[:, ENGAGED]),
        value=empty,
        score=empty,
        categories=_known(shares(categories[alive])),
        traffic_limit=traffic_limit(living),
    )
    return _with_outcomes(base, living, influence[alive], policy)


def _with_outcomes(base: Base, x: Floats, influence: Floats, policy: ValuePolicy) -> Base:
    """Return the base with the quantiles of value and score, which are computed from it."""
    life: Lifetime = lifetime(x, base.buying, base.spend, policy.horizon_days)
    usual = float(np.nanmedian(life.value)) if np.isfinite(life.value).any() else None
    worth = relationship_value(x, life.value, influence, policy.advocacy)
    worth = worth + referral_value(x, usual, policy.horizon_days, policy.advocacy)
    score = grade_score(x, base.monetary, base.frequency, base.engagement, policy.weights)
    return replace(base, value=grid(worth), score=grid(score), usual_value=usual)


def _known(shares_: Floats) -> tuple[float, ...]:
    return () if np.isnan(shares_).any() else tuple(shares_.tolist())
