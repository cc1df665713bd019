"""The money that a customer has brought: net of refunds, per purchase occasion.

The money features are read here only, so that a negative net amount is handled in one place. This
module never forecasts.
"""

from dataclasses import dataclass

import numpy as np

from services.scoring.core.features.registry import column
from shared.kernel.arrays import Floats


@dataclass(frozen=True, slots=True)
class Money:
    """Columns float64[n]; an occasion is a purchase day, as in the BTYD models."""

    priced: Floats
    """Purchases with an amount."""
    net: Floats
    """Amounts less refunds, reporting currency; below 0 where more went back than came."""
    occasions: Floats
    """Purchase days with an amount (estimated where only some purchases have one)."""
    mean: Floats
    """Net per occasion, at least 0; 0 without one."""
    profit: Floats
    """Net less cost, so far; NaN where no cost is known. Purchases without a cost are left out,
    refunds are taken at the margin of the rest."""


def money(x: Floats) -> Money:
    """Compute the money columns from X, float64[n, F]."""
    spent = np.nan_to_num(column(x, "spent"))
    purchases = np.nan_to_num(column(x, "purchases"))
    order = column(x, "order_value")
    with np.errstate(divide="ignore", invalid="ignore"):
        # Customers who paid 0 for everything have priced purchases too, but not a known number.
        counted = np.where(order > 0, np.rint(spent / order), purchases)
        priced = np.where(np.isnan(order), 0.0, counted)
        net = spent * (1.0 - np.nan_to_num(column(x, "refunded_share")))
        share = np.where(purchases > 0, priced / purchases, 0.0)
        occasions = column(x, "purchase_days") * share
        mean = np.where(occasions > 0, np.maximum(net, 0.0) / occasions, 0.0)
        earned = column(x, "profit")
        back = np.nan_to_num(column(x, "refunded_share"))
        profit = earned * (1.0 - np.where(earned > 0, back, 0.0))
    return Money(priced, net, occasions, mean, profit)
