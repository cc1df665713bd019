"""The fitted churn model: LightGBM trees, a calibration and its card, as one artefact.

It predicts and explains; it does not train or read files. The bytes of an artefact decide its
version, so two models with one version give the same number for the same row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk import btyd, horizons
from services.scoring.core.risk.horizons import AS_RHYTHM, Bridge
from services.scoring.model.calibration import Calibration
from services.scoring.model.card import ModelCard
from services.scoring.model.pooled_model import RULES_PRIOR, columns, no_purchase_over
from services.scoring.model.store import address
from shared.contracts.risk import Method
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

if TYPE_CHECKING:
    import lightgbm

FORMAT: Final = 1
VERSION_DIGITS: Final = 12
"""Digits of the address in the version: 48 bits distinguish all models of a company."""
PARAMETERS_MARK: Final = "\nparameters:"
"""LightGBM ends its text with training settings such as the number of threads. They change
no prediction, so they must not change the address."""


class OtherHorizons(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that carry the score to other horizons than the one of the trees."""

    rhythm: btyd.Parameters = RULES_PRIOR
    """Parameters of MBG/NBD, in days: how the probability changes with the silence."""
    bridges: dict[str, Bridge] = {}
    """Bridges by horizon in days, which JSON keeps as text; `AS_RHYTHM` where there is none."""
    lapse: Bridge = AS_RHYTHM
    """Bridge to the rest of a lapse length, fitted to silences that have matured."""


AS_BEFORE: Final = OtherHorizons()
"""Value for artefacts that were made before there were other horizons: it is not written."""


class Artefact(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The model on disk, as JSON."""

    format: int
    feature_set: int
    features: list[str]
    horizon_days: int
    calibration: Calibration
    card: ModelCard
    booster: str
    """LightGBM's own text form, up to its training settings."""
    over: OtherHorizons = AS_BEFORE


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Artefact)


@dataclass(frozen=True, slots=True, eq=False)
class ChurnModel:
    """A Predictor backed by LightGBM. Safe to share between threads."""

    artefact: Artefact
    version: str
    booster: "lightgbm.Booster"
    base: float
    """Log-odds without any feature's contribution: `explain(x).sum(1) + base == log_odds(x)`."""
    threads: int

    @property
    def method(self) -> Method:
        """Always `model`."""
        return "model"

    @property
    def labels(self) -> Labels:
        """Return what counted as churn when the model was trained."""
        return self.artefact.card.labels

    @property
    def feature_set(self) -> int:
        """Return the feature set that the model was trained on."""
        return self.artefact.feature_set

    @property
    def horizon_days(self) -> int:
        """Return the days of silence that the model predicts."""
        return self.artefact.horizon_days

    @property
    def card(self) -> ModelCard:
        """Return the model card."""
        return self.artefact.card

    def predict(self, x: Floats) -> Floats:
        """Return the calibrated probability of silence. float64[n, F] -> float64[n]."""
        return self.artefact.calibration.apply(self.log_odds(x))

    def over(self, x: Floats, p: Floats, days: Sequence[int]) -> Floats:
        """Return P(no purchase) over each of `days`, given `p = predict(x)`: float64[n, k].

        For customers with a purchase. The trees are not evaluated again: see `core.risk.horizons`.
        """
        main, it = self.horizon_days, self.artefact.over
        found = no_purchase_over(it.rhythm, x, [*days, main])
        q_main = found[main]
        for each in days:
            found[each] = it.bridges.get(str(each), AS_RHYTHM).apply(p, q_main, found[each])
        found[main] = p
        return horizons.columns(found, main, days)

    def lapse(self, x: Floats, p: Floats, rest: Floats) -> Floats:
        """Return P(no purchase in the rest of each lapse length), given `p = predict(x)`.

        float64[n].
        """
        it = self.artefact.over
        repeats, span, age = columns(x)
        q_main = btyd.no_purchase_probability(it.rhythm, repeats, span, age, self.horizon_days)
        q = btyd.no_purchase_probability(it.rhythm, repeats, span, age, rest)
        return it.lapse.apply_or_one(p, q_main, q, rest)

    def log_odds(self, x: Floats) -> Floats:
        """Return the score before calibration. float64[n, F] -> float64[n]."""
        if len(x) == 0:
            return np.empty(0)
        raw = self.booster.predict(x, raw_score=True, num_threads=self.threads)
        return np.asarray(raw, dtype=np.float64)

    def explain(self, x: Floats) -> Floats:
        """Return the contribution of each feature to `log_odds`: float64[n, F] -> float64[n, F].

        Exact tree SHAP values (Lundberg et al. 2020, the path-dependent form).
        """
        if len(x) == 0:
            return np.empty_like(x)
        return _contributions(self.booster, x, self.threads)[:, :-1]


def dumps(model: ChurnModel) -> bytes:
    """Return the artefact's bytes; `loads` of them gives a model of the same version."""
    return _ENCODER.encode(model.artefact)


def loads(data: bytes, threads: int = 1) -> ChurnModel:
    """Load a model that uses this many threads per call (1 suits batches below 1,000).

    Raises Invalid, naming what differs, unless the artefact was made for exactly the features that
    this release computes, in this order.
    """
    # Only here: it takes as long as all other imports together, and most commands load no model.
    import lightgbm  # noqa: PLC0415

    try:
        artefact = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise Invalid("artefact", f"not a churn model: {error}") from error
    _check(artefact)
    try:
        booster = lightgbm.Booster(model_str=artefact.booster)
    except lightgbm.basic.LightGBMError as error:
        raise Invalid("artefact.booster", f"LightGBM cannot read it: {error}") from error
    if booster.num_feature() != len(artefact.features):
        raise Invalid(
            "artefact.booster",
            f"trees read {booster.num_feature()} features, {len(artefact.features)} are named",
        )
    return ChurnModel(
        artefact=artefact,
        version=f"lgbm-{address(data)[:VERSION_DIGITS]}",
        booster=booster,
        base=float(_contributions(booster, np.full((1, len(artefact.features)), np.nan), 1)[0, -1]),
        threads=threads,
    )


def assemble(
    booster: "lightgbm.Booster",
    calibration: Calibration,
    card: ModelCard,
    over: OtherHorizons = AS_BEFORE,
) -> ChurnModel:
    """Assemble a model from the results of training, through its bytes.

    So the model that is tested is the model that will be loaded.
    """
    artefact = Artefact(
        format=FORMAT,
        feature_set=card.feature_set,
        features=[feature.name for feature in FEATURES],
        horizon_days=card.horizon_days,
        calibration=calibration,
        card=card,
        booster=booster.model_to_string().split(PARAMETERS_MARK)[0] + "\n",
        over=over,
    )
    return loads(_ENCODER.encode(artefact))


def _contributions(booster: "lightgbm.Booster", x: Floats, threads: int) -> Floats:
    shap = booster.predict(x, pred_contrib=True, num_threads=threads)
    return np.asarray(shap, dtype=np.float64)


def _check(artefact: Artefact) -> None:
    if artefact.format != FORMAT:
        raise Invalid("artefact.format", f"is {artefact.format}, this release reads {FORMAT}")
    if artefact.feature_set != FEATURE_SET:
        raise Invalid(
            "artefact.feature_set",
            f"model reads feature set {artefact.feature_set}, this release computes "
            f"{FEATURE_SET}: train again",
        )
    ours = [feature.name for feature in FEATURES]
    if artefact.features != ours:
        at, theirs, mine = next(
            (i, a, b) for i, (a, b) in enumerate(_pairs(artefact.features, ours)) if a != b
        )
        raise Invalid(
            "artefact.features",
            f"feature {at} is {theirs or 'missing'} in the model and {mine or 'missing'} "
            f"here ({len(artefact.features)} and {len(ours)} in all): train again",
        )


def _pairs(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    length = max(len(a), len(b))
    return list(zip(a + [""] * (length - len(a)), b + [""] * (length - len(b)), strict=True))
