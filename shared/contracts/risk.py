"""`ebbwatch.risk`: the latest assessment of a customer, keyed by customer id, compacted.

Scoring writes one when something changed that can be acted on (another band, a probability that
moved by 0.1, a sign that began or ended, a lapse length that was reached) and as a heartbeat; never
for noise (`publication` and `assessment_schedule` in `services/scoring/core/risk` decide it).
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.contracts.feature_row import FeatureRow

Band = Literal["low", "watch", "high", "critical"]
BANDS: tuple[Band, ...] = ("low", "watch", "high", "critical")
Method = Literal["model", "pooled", "rule"]
"""A fitted model; a prior pooled over the company's customers; the fixed rule on own rhythm."""
Probability = Annotated[float, Meta(ge=0, le=1)]
Grade = Literal["vip", "regular", "potential"]
Tier = Literal["high", "mid", "low"]
Behaviour = Literal["active", "dormant", "churned"]
Lifecycle = Literal["prospect", "new", "growing", "mature", "at_risk", "churned", "won_back"]


class Reason(msgspec.Struct, kw_only=True, frozen=True):
    """Why: a code of the catalogue, its share of the score, and the numbers it speaks of."""

    code: str
    impact: float
    """Contribution to the log-odds (model) or to the rule's score; positive raises risk."""
    facts: dict[str, float]
    """Named numbers for the sentence; days, counts or money as the catalogue defines."""


class Lapse(msgspec.Struct, kw_only=True, frozen=True):
    """The present silence measured against the customer's own rhythm (docs/warning.md)."""

    days: float
    """Lapse length: a silence that reaches so many days counts as a lapse of this customer."""
    probability: Probability
    """That the present silence reaches `days`: P(no purchase in the rest of them)."""
    usual_gap_days: float
    """Usual gap from which `days` follows; shrunk towards a prior where `own_rhythm` is false."""
    own_rhythm: bool
    """False: too few purchase days for a rhythm of the customer's own."""


class Sign(msgspec.Struct, kw_only=True, frozen=True):
    """A sign of leaving that was found by its own detector, against the customer's own past."""

    code: str
    """A code of the catalogue (`services/scoring/core/signs`)."""
    strength: Annotated[float, Meta(ge=0, le=1)]
    """How sure the detector is: the lapse probability of a silence, one minus the p-value of a
    test, 1 for a statement by the customer."""
    facts: dict[str, float] = {}
    """Named numbers for the sentence, as those of a reason."""


class Classification(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Who the customer is to the company at the time of an assessment (docs/segmentation.md).

    None: the data do not support the statement yet, and `quality` says why.
    """

    grade: Grade | None = None
    tier: Tier | None = None
    """High, mid or low value, by configurable thresholds."""
    behaviour: Behaviour | None = None
    lifecycle: Lifecycle | None = None
    needs: list[str] = []
    """`price_sensitive`, `service_sensitive`, `household`, `enterprise`; as the docs define."""
    segments: list[str] = []
    """Ids of the user's own segments of which the customer is a member."""
    lifetime_value: float | None = None
    """Expected value over `lifetime_value_days` after the assessment, reporting currency."""
    lifetime_value_days: int | None = None
    alive_probability: float | None = None
    expected_purchases: float | None = None
    """Purchase days expected over `lifetime_value_days`."""
    profit: float | None = None
    """Revenue - refunds - cost so far, reporting currency; None where cost is not known."""
    rfm: str | None = None
    """Three digits 1-5 (5 is best): recency, frequency, monetary."""
    rfm_cell: str | None = None
    """The usual name of the recency-frequency cell, as `champions`."""
    quality: list[str] = []
    """Flags of data that do not support the score; empty when there are none."""


class Within(msgspec.Struct, kw_only=True, frozen=True):
    """One horizon's probability."""

    days: int
    probability: Probability
    """Probability of no purchase within `days`."""


class RiskAssessed(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One assessment that differs materially from the one before it."""

    customer_id: str
    revision: int
    """Grows by one with each stored assessment of this customer; only some are published, so
    numbers may be left out. A lower one is stale."""
    assessed_at: datetime
    """Business time, UTC: wall clock when live, the tick in a replay."""
    probability: Probability
    """Probability of no purchase within `horizon_days` after `assessed_at`. From a model trained on
    contractual labels (docs/model.md), for a customer with a running contract: of its end within
    that time."""
    horizon_days: int
    horizons: list[Within] = []
    """The same over several horizons, `horizon_days` among them: ascending in days, never rising
    in probability. "When" is read from these."""
    lapse: Lapse | None = None
    """None: never bought, or the contract has ended, so that no silence is measured."""
    signs: list[Sign] = []
    """Signs of leaving that hold at `assessed_at`, most urgent first, whatever the band."""
    band: Band
    previous_band: Band | None = None
    onboarding: bool = False
    """First assessment after a backfill: the risk was there before the first assessment."""
    method: Method
    model_version: str
    feature_set: int
    reasons: list[Reason]
    """Why the score is what it is, most important first; empty where there is no sign."""
    purchases: int
    last_purchase_at: datetime | None = None
    days_silent: float | None = None
    """Days since the last purchase that count: those of closures and announced absences do not."""
    usual_gap_days: float | None = None
    """Mean days between purchase days; None with fewer than two. Not `lapse.usual_gap_days`: the
    mean of all gaps, not the gap from which the lapse length follows."""
    expected_value: float = 0.0
    """Money expected within the horizon had the customer stayed (reporting currency)."""
    value_at_risk: float = 0.0
    """Lapse probability x expected_value; 0 without a lapse."""
    currency: str
    standing: Classification | None = None
    """None while value and segments are not known yet."""
    feature_row: FeatureRow | None = None
    """Features that alerts learns effects from; None from an earlier version of scoring."""
    received_ms: int = 0
    """Unix ms at which the record that caused this entered the raw topic (0: a timer)."""


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(RiskAssessed)
