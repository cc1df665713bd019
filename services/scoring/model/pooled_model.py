"""The pooled model: MBG/NBD with a prior fitted to this company's own customers.

It stands between the rule and a trained model, for histories too short for a label: it needs no
outcome, only each customer's number of purchases. A customer's own rhythm is pulled towards the
pooled prior, the more so the less is known of the customer. Only purchase days are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.registry import column
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk import btyd, horizons
from services.scoring.core.risk.horizons import AS_RHYTHM, Bridge
from services.scoring.core.risk.regularity import of_base
from services.scoring.core.risk.rhythm import PRIOR, history
from services.scoring.model.rule_model import in_silence
from services.scoring.model.store import address
from shared.contracts.risk import Method
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

FORMAT: Final = 1
KIND: Final = "pooled"
VERSION_DIGITS: Final = 12
RULES_PRIOR: Final = btyd.Parameters(
    r=PRIOR.purchases, alpha=PRIOR.days, a=PRIOR.leaving, b=PRIOR.staying, model="mbg"
)
"""The rule's prior, used where nothing was fitted to this company."""


class PooledArtefact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prior on disk, as JSON."""

    kind: str = KIND
    format: int = FORMAT
    horizon_days: int
    r: float
    alpha: float
    """The parameter alpha, in days."""
    a: float
    b: float
    k: float = 1.0
    """Regularity of the gaps; 1 in artefacts that were made before it was known."""
    customers: int
    """Number of customers that the prior was fitted to."""
    repeats: int
    """Number of their repeat purchase days."""
    labels_end: str
    """Instant (UTC) before which every event lies that the prior was fitted to."""
    data_fingerprint: str
    lapse: Bridge = AS_RHYTHM
    """Bridge to the rest of a lapse length, fitted to silences that have matured."""


@dataclass(frozen=True, slots=True)
class PooledModel:
    """A Predictor of three numbers per customer."""

    method: ClassVar[Method] = "pooled"
    labels: ClassVar[Labels] = "silence"
    feature_set: ClassVar[int] = FEATURE_SET
    """This release's: the three features read mean the same in all sets."""

    artefact: PooledArtefact
    version: str

    @property
    def horizon_days(self) -> int:
        """Return the days of silence that the model predicts."""
        return self.artefact.horizon_days

    @property
    def prior(self) -> btyd.Parameters:
        """Return the fitted prior."""
        it = self.artefact
        return btyd.Parameters(r=it.r, alpha=it.alpha, a=it.a, b=it.b, model="mbg", k=it.k)

    def predict(self, x: Floats) -> Floats:
        """Return P(no purchase in the horizon).

        float64[n, F] -> float64[n]; NaN without a purchase.
        """
        found = np.full(len(x), np.nan)
        bought = column(x, "purchase_days") > 0
        found[bought] = no_purchase(self.prior, x[bought], self.horizon_days)
        return found

    def over(self, x: Floats, p: Floats, days: Sequence[int]) -> Floats:
        """Return P(no purchase) over each of `days`: float64[n] -> float64[n, k]."""
        found = no_purchase_over(self.prior, x, days)
        found[self.horizon_days] = p
        return horizons.columns(found, self.horizon_days, days)

    def lapse_probability(self, x: Floats, p: Floats, rest: Floats) -> Floats:
        """Return P(no purchase) over the rest of each lapse length, by the fitted bridge."""
        repeats, span, age = history(x)
        q = btyd.no_purchase_probability(self.prior, repeats, span, age, rest)
        return self.artefact.lapse.apply_or_one(p, p, q, rest)

    def explain(self, x: Floats) -> Floats:
        """Return all log-odds in one column, as the rule does: only rhythm and silence count."""
        return in_silence(x, self.predict(x))


def fit_prior(x: Floats) -> btyd.Parameters:
    """Fit MBG/NBD by maximum likelihood to customers with a purchase, float64[n, F] (days).

    MBG/CNBD-k where the base buys more regularly than at random.
    """
    return btyd.fit(*history(x), model="mbg", k=of_base(x))


def no_purchase(prior: btyd.Parameters, x: Floats, horizon_days: int) -> Floats:
    """Return P(no purchase in the horizon) of customers with a purchase, float64[n]."""
    return np.clip(btyd.no_purchase_probability(prior, *history(x), horizon_days), 0.0, 1.0)


def no_purchase_over(prior: btyd.Parameters, x: Floats, days: Sequence[int]) -> dict[int, Floats]:
    """Map days to P(no purchase over them) of customers with a purchase, float64[n] each."""
    again, span, age = (column[:, None] for column in history(x))
    wide = np.asarray(days, np.float64)
    found = btyd.no_purchase_probability(prior, again, span, age, wide)
    return dict(zip(days, np.clip(found, 0.0, 1.0).T, strict=True))


def make(artefact: PooledArtefact) -> tuple[PooledModel, bytes]:
    """Build the model and its bytes, which decide its version."""
    data = msgspec.json.encode(artefact, order="deterministic")
    return loads(data), data


def loads(data: bytes) -> PooledModel:
    """Load the model from its bytes. Raises Invalid."""
    try:
        artefact = msgspec.json.decode(data, type=PooledArtefact)
    except msgspec.MsgspecError as error:
        raise Invalid("artefact", f"not a pooled prior: {error}") from error
    if artefact.format != FORMAT:
        raise Invalid("artefact.format", f"is {artefact.format}, this release reads {FORMAT}")
    return PooledModel(artefact, f"pooled-{address(data)[:VERSION_DIGITS]}")
