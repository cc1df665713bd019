"""The fitted churn model: LightGBM trees, the rhythm beside them, and its card, as one artefact.

It predicts and explains; it does not train or read files. The bytes of an artefact decide its
version, so two models with one version give the same number for the same row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.registry import FEATURES, are_first, feature_index
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk import btyd, horizons
from services.scoring.core.risk.horizons import AS_RHYTHM, Bridge
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.core.risk.rhythm import history
from services.scoring.model.blending import Blend
from services.scoring.model.card import ModelCard
from services.scoring.model.pooled_model import RULES_PRIOR, no_purchase_over
from services.scoring.model.store import address
from shared.contracts.risk import Method
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

if TYPE_CHECKING:
    import lightgbm

FORMAT: Final = 1
VERSION_DIGITS: Final = 12
"""Digits of the address in the version: 48 bits distinguish all models of a company."""
_GAP: Final = feature_index["gap_mean_days"]
_SILENCE: Final = feature_index["recency_days"]
PARAMETERS_MARK: Final = "\nparameters:"
"""LightGBM ends its text with training settings such as the number of threads. They change
no prediction, so they must not change the address."""


class OtherHorizons(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that carry the score to other horizons than the one of the trees."""

    rhythm: btyd.Parameters = RULES_PRIOR
    """Parameters of MBG/NBD, in days: a part of the score, and how it changes with the silence."""
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
    blend: Blend = msgspec.field(name="calibration")
    """The name on disk is that of artefacts that were made before there were blends."""
    card: ModelCard
    booster: str
    """LightGBM's own text form, up to its training settings."""
    over: OtherHorizons = AS_BEFORE


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Artefact)


@dataclass(frozen=True, slots=True, eq=False)
class ChurnModel:
    """A Predictor backed by LightGBM. Safe to share between threads."""

    method: ClassVar[Method] = "model"

    artefact: Artefact
    version: str
    booster: "lightgbm.Booster"
    base: float
    """Log-odds without any feature's contribution: `explain(x).sum(1) + base == log_odds(x)`."""
    newest: float
    """Log-odds of the rhythm of a customer who has just bought for the first time."""
    threads: int

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
        """Return the probability of silence. float64[n, F] -> float64[n]."""
        return sigmoid(self.log_odds(x))

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

    def lapse_probability(self, x: Floats, p: Floats, rest: Floats) -> Floats:
        """Return P(no purchase in the rest of each lapse length), given `p = predict(x)`.

        float64[n].
        """
        it = self.artefact.over
        repeats, span, age = history(x)
        q_main = btyd.no_purchase_probability(it.rhythm, repeats, span, age, self.horizon_days)
        q = btyd.no_purchase_probability(it.rhythm, repeats, span, age, rest)
        return it.lapse.apply_or_one(p, q_main, q, rest)

    def log_odds(self, x: Floats) -> Floats:
        """Return the score in log-odds. float64[n, F] -> float64[n].

        NaN without a purchase where the rhythm has a part in it.
        """
        if len(x) == 0:
            return np.empty(0)
        read = np.ascontiguousarray(x[:, : len(self.artefact.features)])
        trees = self.booster.predict(read, raw_score=True, num_threads=self.threads)
        blend = self.artefact.blend
        rhythm = self._rhythm(*history(x)) if blend.rhythm else 0.0
        return blend.log_odds(np.asarray(trees, dtype=np.float64), rhythm)

    def explain(self, x: Floats) -> Floats:
        """Return the contribution of each feature to `log_odds`: float64[n, F] -> float64[n, F].

        Exact tree SHAP values (Lundberg et al. 2020, the path-dependent form). The rhythm's part
        is added along one path, from a customer who has just bought for the first time: first the
        past purchases (to the usual gap), then the silence since (to the silence).
        """
        if len(x) == 0:
            return np.empty_like(x)
        blend, read = self.artefact.blend, len(self.artefact.features)
        found = np.zeros(x.shape)
        shap = _contributions(self.booster, np.ascontiguousarray(x[:, :read]), self.threads)
        found[:, :read] = blend.slope * shap[:, :-1]
        if blend.rhythm:
            repeats, span, age = history(x)
            before = self._rhythm(repeats, span, span)
            found[:, _GAP] += blend.rhythm * (before - self.newest)
            found[:, _SILENCE] += blend.rhythm * (self._rhythm(repeats, span, age) - before)
        return found

    def _rhythm(self, repeats: Floats, span: Floats, age: Floats) -> Floats:
        return _rhythm_log_odds(self.artefact.over.rhythm, (repeats, span, age), self.horizon_days)


def dumps(model: ChurnModel) -> bytes:
    """Return the artefact's bytes; `loads` of them gives a model of the same version."""
    return _ENCODER.encode(model.artefact)


def loads(data: bytes, threads: int = 1) -> ChurnModel:
    """Load a model that uses this many threads per call (1 suits batches below 1,000).

    Raises Invalid, naming what differs, unless the artefact was made for the features that this
    release computes, or the first of them, in this order.
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
    blend, never = artefact.blend, np.zeros(1)
    bias = float(_contributions(booster, np.full((1, len(artefact.features)), np.nan), 1)[0, -1])
    newest = float(
        _rhythm_log_odds(artefact.over.rhythm, (never, never, never), artefact.horizon_days)[0]
    )
    return ChurnModel(
        artefact=artefact,
        version=f"lgbm-{address(data)[:VERSION_DIGITS]}",
        booster=booster,
        base=blend.intercept + blend.slope * bias + blend.rhythm * newest,
        newest=newest,
        threads=threads,
    )


def assemble(
    booster: "lightgbm.Booster",
    blend: Blend,
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
        blend=blend,
        card=card,
        booster=booster.model_to_string().split(PARAMETERS_MARK)[0] + "\n",
        over=over,
    )
    return loads(_ENCODER.encode(artefact))


def _rhythm_log_odds(
    rhythm: btyd.Parameters, times: tuple[Floats, Floats, Floats], horizon_days: int
) -> Floats:
    """Return the log-odds of MBG/NBD's silence; NaN where there is no purchase."""
    repeats, span, age = times
    return logit(btyd.no_purchase_probability(rhythm, repeats, span, age, horizon_days))


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
    names = artefact.features
    if not are_first(names):
        ours = [feature.name for feature in FEATURES]
        pairs = enumerate(zip_longest(names, ours, fillvalue="missing"))
        at, theirs, mine = next((i, a, b) for i, (a, b) in pairs if a != b)
        raise Invalid(
            "artefact.features",
            f"feature {at} is {theirs} in the model and {mine} here ({len(names)} and "
            f"{len(ours)} in all): train again",
        )
