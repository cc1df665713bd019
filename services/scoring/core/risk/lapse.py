"""The lapse clock: how long a silence of a customer must last to count as a lapse.

A lapse is measured against the customer's own rhythm (docs/warning.md). Bands, the schedule of
assessments, publication, behaviour states and signs of silence all derive from this length. It
depends on purchases alone, so that it never changes during a silence.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.features.registry import column
from services.scoring.core.risk.rhythm import PRIOR, Prior, expected_gap_days
from shared.kernel.arrays import Flags, Floats

RHYTHM_DAYS_MIN: Final = 5
"""Purchase days from which a customer has a rhythm of their own: four gaps."""
SEASON_FACTOR: Final = 1.25
"""A seasonal buyer's silence is a lapse once it lasts a quarter longer than a year ago."""
SEASON_DAYS_MAX: Final = 450.0
"""A year and a season: a yearly buyer who misses the season is noticed in the next quarter."""
ORDINARY_SHARE: Final = 0.4
"""Up to this share of the lapse length a silence is ordinary and means nothing yet."""
DORMANT_SHARE: Final = 0.6
"""From this share on a customer is dormant. 40 % of the length are left: 11 of at least 28 days,
which an owner needs to get in touch and see an effect."""


@dataclass(frozen=True, slots=True)
class LapseClock:
    """A deployment's settings of the lapse length, and the prior for customers without a rhythm."""

    gaps: float = 4.0
    """Lapse length in usual gaps."""
    days_min: float = 28.0
    """A shorter silence is no lapse: holidays and colds take as long."""
    days_max: float = 180.0
    """Half a year without a purchase is a lapse, however seldom the customer bought."""
    prior: Prior = PRIOR
    """The usual gap is held towards it while purchases are few."""
    closures: tuple[tuple[float, float], ...] = ()
    """Spans of closures, Unix seconds UTC, ascending and disjoint (`excluded_days`)."""


@dataclass(frozen=True, slots=True)
class SilenceColumns:
    """The silences of n customers and their lapse lengths, as columns; NaN for prospects."""

    days: Floats
    """Lapse length."""
    silence: Floats
    """Days since the last purchase that count, without `excluded_days`."""
    gap: Floats
    """Usual gap in days, from which the lapse length follows."""
    own: Flags
    """Whether the customer has a rhythm of their own."""

    @property
    def share(self) -> Floats:
        """Silence as a share of the lapse length."""
        return self.silence / self.days

    @property
    def rest(self) -> Floats:
        """Days until the silence reaches the lapse length, at least 0."""
        return np.maximum(self.days - self.silence, 0.0)

    @property
    def reached(self) -> Flags:
        """The silence has reached the lapse length: the customer is gone."""
        return np.asarray(self.silence >= self.days)


def own_rhythm(x: Floats) -> Flags:
    """bool[n]: the customer has bought on enough days for a rhythm of their own."""
    return np.asarray(column(x, "purchase_days") >= RHYTHM_DAYS_MIN)


def usual_gap_days(x: Floats, clock: LapseClock) -> Floats:
    """Return the usual gap in days, float64[n]: mean of the last gaps, or one held to the prior."""
    return np.where(
        own_rhythm(x),
        column(x, "gap_recent_days"),
        expected_gap_days(x, clock.prior),
    )


def silences_of(x: Floats, clock: LapseClock, paused_days: Floats | None = None) -> SilenceColumns:
    """Return the lapse length and the silence of each row of X, float64[n, F].

    The length is `gaps` usual gaps, within the clock's bounds. Where a silence of this length
    began at the same time a year ago, and ended, the customer is a seasonal buyer: the length is
    then `SEASON_FACTOR` times that silence. `paused_days` (`excluded_days`) do not count.
    """
    gap = usual_gap_days(x, clock)
    days = np.clip(clock.gaps * gap, clock.days_min, clock.days_max)
    season = column(x, "gap_season_days")
    with np.errstate(invalid="ignore"):  # NaN where there was no such gap
        seasonal = season >= days
    longer = np.minimum(SEASON_FACTOR * np.nan_to_num(season), SEASON_DAYS_MAX)
    days = np.where(seasonal, np.maximum(days, longer), days)
    silence = column(x, "recency_days")
    if paused_days is not None:
        silence = silence - paused_days
    return SilenceColumns(np.where(np.isnan(silence), np.nan, days), silence, gap, own_rhythm(x))
