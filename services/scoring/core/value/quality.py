"""Quality flags: what is missing or cannot be true in a customer's data.

Flags are published and counted, so that no customer is scored silently on data that do not support
it. This module never repairs anything and never refuses an event (ingest does).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.features.registry import column, feature_index
from services.scoring.core.value.money import Money
from shared.contracts.events import Profile
from shared.kernel.arrays import Flags, Floats

NO_AMOUNTS: Final = "no_amounts"
AMOUNTS_MISSING: Final = "amounts_missing"
AMOUNTS_IMPROBABLE: Final = "amounts_improbable"
REFUNDS_EXCEED: Final = "refunds_exceed_purchases"
TOO_OFTEN: Final = "implausible_frequency"
TOO_MUCH_TRAFFIC: Final = "improbable_traffic"
PROFILE_MISSING: Final = "profile_missing"
PROFILE_INCOMPLETE: Final = "profile_incomplete"
BIRTHDAY: Final = "birthday_implausible"
BASE_UNKNOWN: Final = "base_not_known"

MEANINGS: Final = {
    NO_AMOUNTS: "purchases without any amount: no value, tier or grade is stated",
    AMOUNTS_MISSING: "more than a tenth of the purchases have no amount: value is understated",
    AMOUNTS_IMPROBABLE: (
        "the mean purchase lies far beyond those of the base: value counts what the base supports"
    ),
    REFUNDS_EXCEED: "more was refunded than was bought here: value counts as 0",
    TOO_OFTEN: "more than 50 purchases a purchase day: a till or a test account?",
    TOO_MUCH_TRAFFIC: (
        "as much lately as a thousand usual customers: an id that many share, or a test account?"
    ),
    PROFILE_MISSING: "no profile was received: rules on profile fields see nothing",
    PROFILE_INCOMPLETE: "the profile lacks a region, or an account its industry or size",
    BIRTHDAY: "the birthday lies in the future or more than 120 years ago",
    BASE_UNKNOWN: "the base is not measured yet: no scores that compare customers",
}

ORDER_VALUE: Final = feature_index["order_value"]
PRICED_MIN: Final = 0.9
PURCHASES_PER_DAY_MAX: Final = 50.0
AGE_YEARS_MAX: Final = 120
TRAFFIC_MAX: Final = 1_000.0
"""Multiple of the traffic of the base's median customer. The busiest customer of the public sets
has 36 times as much; one id for all who are not logged in has as much as a shop has customers."""
TRAFFIC_MIN: Final = 650.0
"""Least limit for any base: five events a day for a season and longer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The greatest values that a measured base supports; without a base there is no limit."""

    amount: float = math.inf
    """Mean net value of a purchase day, and mean value of an order, reporting currency."""
    traffic: float = math.inf
    """In the unit of `traffic`."""


NO_LIMITS: Final = Limits()


def traffic(x: Floats) -> Floats:
    """Return purchases and interactions, fading by half in 90 days, float64[n]."""
    return np.asarray(column(x, "purchases_decayed_90") + column(x, "interactions_decayed_90"))


def traffic_limit(living: Floats) -> float:
    """Return the traffic above which an id is no customer; X float64[n, F] of living customers."""
    found = traffic(living)
    usual = float(np.median(found[found > 0])) if (found > 0).any() else 0.0
    return max(TRAFFIC_MAX * usual, TRAFFIC_MIN)


def flags(
    x: Floats,
    cash: Money,
    profiles: Sequence[Profile | None],
    now: Floats,
    unknown: Flags,
    limits: Limits = NO_LIMITS,
) -> list[tuple[str, ...]]:
    """Return the flags per customer in the order of `MEANINGS`; equal ones share a tuple.

    `cash` is the money of the same X; `unknown`: the customers with `BASE_UNKNOWN`.
    """
    purchases = column(x, "purchases")
    days = np.maximum(column(x, "purchase_days"), 1)
    # Without a purchase the features contain no money for the refund to exceed.
    unbought = (purchases == 0) & (column(x, "refunds") > 0)
    bits = np.zeros(len(x), np.int64)
    for name, where in (
        (NO_AMOUNTS, (purchases > 0) & (cash.priced == 0)),
        (AMOUNTS_MISSING, (cash.priced > 0) & (cash.priced < PRICED_MIN * purchases)),
        (AMOUNTS_IMPROBABLE, np.fmax(x[:, ORDER_VALUE], cash.mean) > limits.amount),
        (REFUNDS_EXCEED, (cash.net < 0) | unbought),
        (TOO_OFTEN, purchases / days > PURCHASES_PER_DAY_MAX),
        (TOO_MUCH_TRAFFIC, traffic(x) > limits.traffic),
        (BASE_UNKNOWN, unknown),
    ):
        bits[where] |= _BIT[name]
    masks = bits.tolist()
    for row, profile in enumerate(profiles):
        masks[row] |= _BIT[PROFILE_MISSING] if profile is None else _of_profile(profile, now[row])
    words = {bits: _words(bits) for bits in set(masks)}
    return [words[bits] for bits in masks]


_BIT: Final = {name: 1 << at for at, name in enumerate(MEANINGS)}


def _words(bits: int) -> tuple[str, ...]:
    return tuple(name for name, bit in _BIT.items() if bits & bit)


def _of_profile(profile: Profile, now: float) -> int:
    """Return the flags of a profile as bits."""
    lacks, bits = profile.region is None, 0
    if profile.kind == "account":
        lacks = lacks or profile.industry is None or profile.size is None
    if lacks:
        bits |= _BIT[PROFILE_INCOMPLETE]
    if profile.birthday is not None:
        age = 1970 + now / (365.2425 * 86_400) - profile.birthday.year
        if not -1 < age < AGE_YEARS_MAX:
            bits |= _BIT[BIRTHDAY]
    return bits
