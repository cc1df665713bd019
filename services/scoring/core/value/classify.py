"""Classifies a batch of customers: value, grade, tier, lifecycle, needs, quality and segments.

All parts are put together here; streaming, sweep, report and benchmark all call `assess`. It is
columnar: the only loop over customers is over their profiles. It writes nothing (`compare`
finds the changes).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.columns import EMPTY, Columns
from services.scoring.core.features.registry import column
from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.risk.rhythm import Prior
from services.scoring.core.segments.columns import Words
from services.scoring.core.segments.rules import NO_RULES, SegmentRules, frame_of
from services.scoring.core.value import grades, lifecycle, quality, rfm
from services.scoring.core.value.affinity import Counts, needs_of
from services.scoring.core.value.base import Base
from services.scoring.core.value.lifetime import Lifetime, lifetime
from services.scoring.core.value.money import money
from services.scoring.core.value.needs import needs, price_sensitive, service_sensitive
from services.scoring.core.value.policy import ValuePolicy
from shared.contracts.events import Profile
from shared.contracts.risk import BANDS
from shared.kernel.arrays import Codes, Flags, Floats, Ints

NONE: Final = -1
NO_SEGMENTS: Final[frozenset[str]] = frozenset()
"""Shared by all customers who are in no segment."""


@dataclass(frozen=True, slots=True)
class Valuation:
    """What is in force: the operator's policy, the measured base and the user's segments."""

    policy: ValuePolicy = field(default_factory=ValuePolicy)
    policy_version: int = 0
    base: Base | None = None
    """None until enough customers are known."""
    rules: SegmentRules = NO_RULES
    clock: LapseClock = field(default_factory=LapseClock)
    """The lapse clock as the deployment sets it."""

    @property
    def limits(self) -> quality.Limits:
        """The greatest values that the base supports."""
        return quality.NO_LIMITS if self.base is None else self.base.limits

    @property
    def lapse_clock(self) -> LapseClock:
        """The clock with the company's own prior, once a base has been measured."""
        if self.base is None:
            return self.clock
        it = self.base.buying
        return replace(self.clock, prior=Prior(it.r, it.alpha, it.a, it.b))


@dataclass(slots=True)
class ClassificationColumns(Columns):
    """The part of stored classifications that the next assessment compares with.

    Codes index the words of their modules, `NONE` = none; times are Unix seconds UTC.
    """

    at: Floats
    """NaN: never classified."""
    sequence: Ints
    """Number of the last published change."""
    grade: Codes
    tier: Codes
    behaviour: Codes
    lifecycle: Codes
    lifecycle_since: Floats
    segments: NDArray[np.object_] = field(metadata={EMPTY: NO_SEGMENTS})
    """frozenset[str]."""
    rules_revision: Ints
    policy_version: Ints
    worth: Floats
    """NaN where the data do not support it."""
    overridden: Flags
    """The grade above was set by a person."""


@dataclass(slots=True)
class Before(ClassificationColumns):
    """The previous classification."""

    override: Codes
    """Grade that a person has set and that has not expired; `NONE` without one."""

    @property
    def known(self) -> Flags:
        """bool[n]: the customer was classified before."""
        return ~np.isnan(self.at)


@dataclass(frozen=True, slots=True)
class Risk:
    """The assessed risk of the same customers."""

    band: Codes
    probability: Floats
    value_at_risk: Floats
    """Lapse probability x expected value, reporting currency."""


@dataclass(frozen=True, slots=True)
class Classifications:
    """The classifications now; columns of n. Codes index their modules' words, `NONE` = none."""

    grade: Codes
    tier: Codes
    behaviour: Codes
    lifecycle: Codes
    lifecycle_since: Floats
    score: Floats
    profit: Floats
    """Earned so far, reporting currency; NaN where costs are not known."""
    life: Lifetime
    worth: Floats
    """Lifetime value with advocacy and referrals: the basis of tiers."""
    rfm: Codes
    """int8[3, n]: recency, frequency, monetary; 0 = unscored."""
    cell: Codes
    needs: list[tuple[str, ...]]
    quality: list[tuple[str, ...]]
    members: Flags
    """bool[segments, n], in the order of the rules."""


def assess(
    x: Floats,
    now: Floats,
    risk: Risk,
    categories: Counts,
    profiles: Sequence[Profile | None],
    before: Before,
    by: Valuation,
    paused_days: Floats | None = None,
) -> Classifications:
    """Classify the rows of X, float64[n, F], at `now` float64[n] (Unix seconds UTC).

    `categories` uint32[n, 16] is the states' category sketch; `paused_days` float64[n] do not
    count as silence (`core.risk.excluded_days`).
    """
    policy, base, n = by.policy, by.base, len(x)
    cash = money(x)
    prospect = np.isnan(column(x, "recency_days"))
    with np.errstate(invalid="ignore", divide="ignore"):
        behaves = lifecycle.behaviour(silences_of(x, by.lapse_clock, paused_days))
        stage, since = lifecycle.advance(
            before.lifecycle, before.lifecycle_since,
            lifecycle.signal(x, behaves, before.lifecycle, policy), now, policy,
        )  # fmt: skip
        life, worth, score, tier, rated, scores, cell = _compared(x, prospect, profiles, before, by)
    unknown = np.zeros(n, np.bool_) if base is not None else ~prospect
    flags = quality.flags(x, cash, profiles, now, unknown, by.limits)
    usual = np.array(base.categories) if base is not None and base.categories else None
    found_needs = needs(
        profiles,
        (("price_sensitive", price_sensitive(x)), ("service_sensitive", service_sensitive(x)),
         *needs_of(categories, usual, policy.affinity).items()),
    )  # fmt: skip
    names = by.rules.names
    frame = frame_of(
        names,
        x,
        _numbers(names, risk, life, score, scores, profiles, now),
        _texts(names, risk.band, rated, tier, behaves, stage, cell),
        {"needs": found_needs, "quality": flags},
        profiles,
    )
    members = by.rules.members(frame) if n else np.zeros((len(by.rules.items), 0), np.bool_)
    return Classifications(
        rated, tier, behaves, stage, since, score, cash.profit, life, worth, scores, cell,
        found_needs, flags, members,
    )  # fmt: skip


def _compared(
    x: Floats,
    prospect: Flags,
    profiles: Sequence[Profile | None],
    before: Before,
    by: Valuation,
) -> tuple[Lifetime, Floats, Floats, Codes, Codes, Codes, Codes]:
    """Return what needs a measured base: life, worth, score, tier, grade, RFM scores, cell."""
    policy, base, n = by.policy, by.base, len(x)
    unknown = np.full(n, np.nan)
    if base is None:
        life, worth, score = Lifetime(unknown, unknown, unknown), unknown, unknown
        scores = np.zeros((3, n), np.int8)
        # The previous tier and grade are kept until a base has been measured.
        tier = before.tier
        rated = np.where(prospect, grades.POTENTIAL, _graded(before))
    else:
        life = lifetime(x, base.buying, base.spend, policy.horizon_days)
        worth = grades.relationship_value(
            x, life.value, grades.influence(profiles), policy.advocacy
        ) + grades.referral_value(x, base.usual_value, policy.horizon_days, policy.advocacy)
        score = grades.grade_score(
            x, base.monetary, base.frequency, base.engagement, policy.weights
        )
        score = np.where(prospect, np.nan, score)
        scores = _rfm(x, base)
        high, mid = (grades.level(c, base.value) for c in (policy.high, policy.mid))
        tier = grades.tier(worth, high, mid, before.tier, policy.margin)
        levels = (
            grades.level(policy.vip, base.score),
            grades.level(policy.potential, base.value),
        )
        rated = grades.grade(score, worth, prospect, levels, _graded(before), policy.margin)
    rated = np.where(before.override != NONE, before.override, rated).astype(np.int8)
    return life, worth, score, tier, rated, scores, rfm.cell(scores[0], scores[1])


def _graded(before: Before) -> Codes:
    """Return the grade that the rules gave last; `NONE` where a person had set it."""
    return np.where(before.overridden, NONE, before.grade).astype(np.int8)


def _rfm(x: Floats, base: Base) -> Codes:
    bought = column(x, "purchases") > 0
    days = np.where(bought, column(x, "purchase_days"), np.nan)
    cash = money(x)
    net = np.where(cash.priced > 0, cash.net, np.nan)
    at = slice(20, 81, 20)  # the quintile edges within the grid of per cents
    return np.stack(
        [
            rfm.descending(column(x, "recency_days"), base.recency[at]),
            rfm.ascending(days, base.frequency[at]),
            rfm.ascending(net, base.monetary[at]),
        ]
    )


def _numbers(
    names: frozenset[str],
    risk: Risk,
    life: Lifetime,
    score: Floats,
    scores: Codes,
    profiles: Sequence[Profile | None],
    now: Floats,
) -> dict[str, Floats]:
    found = {
        "probability": risk.probability,
        "value_at_risk": risk.value_at_risk,
        "lifetime_value": life.value,
        "expected_purchases": life.purchases,
        "alive_probability": life.alive,
        "grade_score": score,
    }
    for name, row in (("rfm_recency", 0), ("rfm_frequency", 1), ("rfm_monetary", 2)):
        if name in names:
            found[name] = np.where(scores[row] > 0, scores[row], np.nan)
    if "age_years" in names:
        days = now / 86_400
        born = [np.nan if p is None or p.birthday is None
                else p.birthday.toordinal() - _EPOCH for p in profiles]  # fmt: skip
        found["age_years"] = np.floor((days - np.array(born, np.float64)) / 365.2425)
    return found


_EPOCH: Final = 719_163
"""Ordinal of 1970-01-01."""


def _texts(
    names: frozenset[str],
    band: Codes,
    grade: Codes,
    tier: Codes,
    behaves: Codes,
    stage: Codes,
    cell: Codes,
) -> dict[str, Words]:
    columns = {
        "band": (BANDS, band),
        "grade": (grades.GRADES, grade),
        "tier": (grades.TIERS, tier),
        "behaviour": (lifecycle.BEHAVIOURS, behaves),
        "lifecycle": (lifecycle.LIFECYCLES, stage),
        "rfm_cell": (rfm.CELLS, cell),
    }
    # Code -1 (none) becomes the first word, the empty one.
    return {
        name: Words(("", *words), codes.astype(np.int64) + 1)
        for name, (words, codes) in columns.items()
        if name in names
    }
