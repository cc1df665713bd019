"""How large a holdout for how long shows an effect: the power calculation before an experiment.

Customers are warned about for the first time at a known rate; a share of them is held out. The
question is after how many warnings a planned effect is found with probability 0.8.
"""

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import Final

from services.alerts.core.effect import ENOUGH
from services.alerts.core.intervals import ALPHA, TARGET, Z

POWER: Final = 0.8
"""Probability of finding the planned effect."""
Z_POWER: Final = 0.8416212335729143
"""The normal distribution's 80 % quantile."""
SHARES: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Shares held out that are compared; a policy allows at most half."""
WARNINGS_MAX: Final = 10_000_000
"""More warnings than any company waits for: an effect that needs more is never seen."""


@dataclass(frozen=True, slots=True)
class HoldoutPlan:
    """What one share held out gives."""

    share: float
    planned: int
    """First warnings until a single reading, planned beforehand, shows the effect."""
    claimed: int | None
    """First warnings until the report claims the effect, however often it is read; None: never."""

    def weeks(self, per_week: float) -> float | None:
        """Return the weeks until the claim at so many first warnings a week; None: never."""
        return None if self.claimed is None or per_week <= 0 else self.claimed / per_week

    def left_alone(self) -> int | None:
        """Return the customers who are left alone until the claim."""
        return None if self.claimed is None else ceil(self.claimed * self.share)


def planned_warnings(base: float, effect: float, share: float) -> int:
    """Return the warnings after which one planned test at 5 % finds the effect with `POWER`.

    Two proportions in unequal groups (Fleiss, Levin & Paik 2003, Statistical Methods for Rates and
    Proportions, section 4.3, without continuity correction): with m held out, r m treated,
    r = (1 - share) / share, p0 = base, p1 = base + effect, P = (p0 + r p1) / (1 + r),

        m = (z sqrt((r + 1) P (1 - P)) + z' sqrt(r p0 (1 - p0) + p1 (1 - p1)))^2 / (r effect^2)

    Each arm has at least `ENOUGH`. A share of 0.25 against 0.40 in equal groups takes 152 each:

    >>> planned_warnings(0.25, 0.15, 0.5)
    304
    """
    p0, p1 = base, _within(base + effect)
    r = (1 - share) / share
    mean = (p0 + r * p1) / (1 + r)
    spread = Z * sqrt((r + 1) * mean * (1 - mean)) + Z_POWER * sqrt(
        r * p0 * (1 - p0) + p1 * (1 - p1)
    )
    held_out = max(spread**2 / (r * (p1 - p0) ** 2), ENOUGH, ENOUGH / r)
    return ceil(held_out) + ceil(r * ceil(held_out))


def claimed_warnings(base: float, effect: float, share: float) -> int | None:
    """Return the warnings after which the report's claim finds the effect with `POWER`.

    The claim rests on the asymptotic confidence sequence of `intervals.anytime` (Waudby-Smith,
    Arbour, Sinha, Kennedy & Ramdas 2021): with n warnings its half width is

        s sqrt(2 (n q + 1) / (n^2 q) ln(sqrt(n q + 1) / alpha)), s^2 = v1 / (1 - share) + v0 / share

    and q tuned for `TARGET`; the estimate exceeds effect - z' s / sqrt(n) with `POWER`. The least n
    at which that exceeds the half width is found by bisection. None: above `WARNINGS_MAX`.
    """
    p0, p1 = base, _within(base + effect)
    s = sqrt(p1 * (1 - p1) / (1 - share) + p0 * (1 - p0) / share)
    q = (-2 * log(ALPHA) + log(-2 * log(ALPHA) + 1)) / TARGET

    def found(n: int) -> bool:
        half = s * sqrt(2 * (n * q + 1) / (n * n * q) * log(sqrt(n * q + 1) / ALPHA))
        return abs(p1 - p0) - Z_POWER * s / sqrt(n) >= half

    least, most = ceil(ENOUGH / min(share, 1 - share)), WARNINGS_MAX
    if found(least):
        return least
    if not found(most):
        return None
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if found(middle) else (middle, most)
    return most


def plans(base: float, effect: float) -> list[HoldoutPlan]:
    """Return what each share gives, for the return rate of customers left alone and an effect."""
    return [
        HoldoutPlan(
            share, planned_warnings(base, effect, share), claimed_warnings(base, effect, share)
        )
        for share in SHARES
    ]


def proposed(made: list[HoldoutPlan], per_week: float, weeks_max: float) -> HoldoutPlan | None:
    """Return the smallest share that is claimed in time; None where none is.

    A smaller share leaves fewer customers alone.
    """
    for plan in made:
        weeks = plan.weeks(per_week)
        if weeks is not None and weeks <= weeks_max:
            return plan
    return None


def _within(share: float) -> float:
    return min(max(share, 0.001), 0.999)
