"""Tier and grade: words for the service that a customer gets, without flapping.

Tiers are high / mid / low by value; grades are VIP / regular / potential by what the customer has
been and may become. This module never measures a base (`base` does) and never reads the reason of
an override.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.scoring.core.features.registry import column
from services.scoring.core.value.money import money
from services.scoring.core.value.policy import Advocacy, Cut, GradeWeights
from services.scoring.core.value.quantiles import Grid, cut, rank
from shared.contracts.events import Profile
from shared.contracts.risk import Grade, Tier
from shared.kernel.arrays import Codes, Flags, Floats

NONE: Final = -1
TIERS: Final[tuple[Tier, ...]] = ("high", "mid", "low")
GRADES: Final[tuple[Grade, ...]] = ("vip", "regular", "potential")
VIP, REGULAR, POTENTIAL = range(len(GRADES))

PROMOTER: Final = 9.0
DETRACTOR: Final = 6.0
"""9-10 promotes, 0-6 detracts (Reichheld 2003, "The one number you need to grow")."""
COMPLAINT_COSTS: Final = 0.25
"""Taken off the feedback part per open complaint; two outweigh any survey but the best."""
INFLUENCE_ATTRIBUTE: Final = "social_influence"
"""Profile attribute, 0-10: reach as the company rates it."""
REFERRALS_ATTRIBUTE: Final = "referrals"
"""Profile attribute: number of customers referred by this customer."""
REFERRALS_FULL: Final = 5.0
"""Referrals that count as full influence, and the most that are expected over a horizon."""
YEAR_DAYS: Final = 365.0


def influence(profiles: Sequence[Profile | None]) -> Floats:
    """Return social influence 0-1 from the profile's attributes, float64[n]; 0 without them."""
    influences = (0.0 if profile is None else _influence(profile) for profile in profiles)
    return np.fromiter(influences, np.float64, len(profiles))


def _influence(profile: Profile) -> float:
    if not profile.attributes:
        return 0.0
    reach = _number(profile.attributes.get(INFLUENCE_ATTRIBUTE)) / 10.0
    brought = _number(profile.attributes.get(REFERRALS_ATTRIBUTE)) / REFERRALS_FULL
    return min(max(reach, brought, 0.0), 1.0)


def _number(text: str | None) -> float:
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if np.isfinite(value) else 0.0


def loyalty(x: Floats) -> Floats:
    """Return loyalty, float64[n], 0-1: (1 - gap variation) x years known, at most one."""
    regular = 1.0 - np.minimum(column(x, "gap_variation"), 1.0)
    known = np.minimum(column(x, "tenure_days") / YEAR_DAYS, 1.0)
    return np.nan_to_num(regular * known)


def recommendation(x: Floats) -> Floats:
    """Return +1 for promoters, -1 for detractors, 0 between or not asked, float64[n]."""
    score = column(x, "recommendation_score")
    return np.where(score >= PROMOTER, 1.0, np.where(score <= DETRACTOR, -1.0, 0.0))


def relationship_value(x: Floats, value: Floats, influences: Floats, weigh: Advocacy) -> Floats:
    """Return the lifetime value with what the customer adds through others, float64[n], money.

    value x (1 + w_r recommendation + w_l loyalty + w_i influence): customers who recommend and stay
    bring more than they pay (Kumar et al. 2010, "Undervalued or overvalued customers",
    J. Service Research 13(3)); the weights are the operator's judgement.
    """
    more = weigh.recommendation * recommendation(x) + weigh.loyalty * loyalty(x)
    return np.asarray(value * (1.0 + more + weigh.influence * influences))


def referral_value(x: Floats, usual: float | None, horizon_days: float, weigh: Advocacy) -> Floats:
    """Return what customers yet to be brought are worth, float64[n], money; 0 without referrals.

    w x expected referrals x `usual`. Expected referrals: those so far, as a rate over the time
    since the first purchase (at least the horizon), over the horizon, at most `REFERRALS_FULL`,
    so that a shared referral code heads no list. `usual`: median lifetime value of the base, None
    where no value is known. That is the referral value of Kumar, Petersen & Leone 2010, "Driving
    profitability by encouraging customer referrals", J. Marketing 74(5), without the saved costs of
    acquisition, which no event contains. w is the share of referred customers who would not have
    come without the referral: half by default, the operator's judgement.
    """
    if usual is None:
        return np.zeros(len(x))
    known = np.fmax(column(x, "tenure_days"), horizon_days)
    expected = column(x, "referrals") * horizon_days / known
    return np.asarray(weigh.referral * usual * np.minimum(expected, REFERRALS_FULL))


def grade_score(
    x: Floats, monetary: Grid, frequency: Grid, engagement: Grid, weights: GradeWeights
) -> Floats:
    """Return the weighted mean of the known parts, 0-1, float64[n]; NaN without amounts.

    amount      rank of the net amount in the living base
    frequency   rank of the purchase days
    stability   1 - gap variation (standard deviation over mean of the gaps), at least 0
    preference  share of the favourite category; where none is named, of the usual weekday
    engagement  rank of the fading count of interactions, where the base has interactions
    feedback    mean of the last survey and recommendation over 10, less open complaints
    """
    engaged = column(x, "interactions_decayed_90")
    favourite = column(x, "favourite_category_share")
    parts = np.stack(
        [
            rank(money(x).net, monetary),
            rank(column(x, "purchase_days"), frequency),
            1.0 - np.minimum(column(x, "gap_variation"), 1.0),
            np.where(np.isnan(favourite), column(x, "weekday_share"), favourite),
            rank(engaged, engagement) if engagement[-1] > 0 else np.full(len(x), np.nan),
            feedback(x),
        ]
    )
    weight = np.array([weights.amount, weights.frequency, weights.stability, weights.preference,
                       weights.engagement, weights.feedback])[:, None]  # fmt: skip
    total = np.where(np.isnan(parts), 0.0, weight).sum(axis=0)
    score = np.nansum(parts * weight, axis=0) / np.where(total > 0, total, np.nan)
    return np.where(money(x).priced > 0, score, np.nan)


def feedback(x: Floats) -> Floats:
    """Return the customer's last answers less open complaints, 0-1, float64[n]; NaN without."""
    scores = np.stack([column(x, "survey_score"),
                     column(x, "recommendation_score")]) / 10.0  # fmt: skip
    count = (~np.isnan(scores)).sum(axis=0)
    mean = np.where(count > 0, np.nansum(scores, axis=0) / np.maximum(count, 1), 0.5)
    unsolved = column(x, "complaints_open")
    known = (count > 0) | (unsolved > 0)
    return np.where(known, np.clip(mean - COMPLAINT_COSTS * unsolved, 0.0, 1.0), np.nan)


def level(by: Cut, of: Grid) -> float:
    """Return the value at which a group begins."""
    return by.at_least if by.at_least is not None else cut(of, by.share or 1.0)


def tier(value: Floats, high: float, mid: float, before: Codes, margin: float) -> Codes:
    """Return the tier as an index into `TIERS`, int8[n]; `NONE` where the value is NaN.

    Entered upwards at its level, left downwards only below (1 - margin) of it.
    """
    entered = 2 - (value >= mid).astype(np.int8) - (value >= high)
    kept = 2 - (value >= mid * (1 - margin)).astype(np.int8) - (value >= high * (1 - margin))
    stays = np.clip(np.where(before == NONE, entered, before), kept, entered)
    return np.where(np.isnan(value), NONE, stays).astype(np.int8)


def grade(
    score: Floats,
    value: Floats,
    prospect: Flags,
    levels: tuple[float, float],
    before: Codes,
    margin: float,
) -> Codes:
    """Return the grade as an index into `GRADES`, int8[n]; `NONE` where the data support none.

    vip        score reaches its level (`levels[0]`)
    potential  no VIP: a prospect, or the value to come reaches `levels[1]`
    regular    all others
    Either group is left only below (1 - margin) of its level.
    """
    vip_from = np.where(before == VIP, levels[0] * (1 - margin), levels[0])
    potential_from = np.where(before == POTENTIAL, levels[1] * (1 - margin), levels[1])
    found = np.where(value >= potential_from, POTENTIAL, REGULAR)
    found = np.where(score >= vip_from, VIP, found)
    found = np.where(np.isnan(score), NONE, found)
    return np.where(prospect, POTENTIAL, found).astype(np.int8)
