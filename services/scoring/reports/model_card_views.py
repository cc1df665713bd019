"""Computes views for the model card that are no single measure: segments, lead time, SHAP.

All use the predictions at the test cutoffs and the outcomes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from services.scoring.core.features.registry import FEATURES, column
from services.scoring.core.monitoring.metrics import log_loss, roc_auc
from services.scoring.core.risk.rhythm import expected_gap_days
from services.scoring.training.evaluation.held_out import CHOSEN, HeldOutCutoff
from services.scoring.training.fit.train import IMPORTANT
from shared.kernel.arrays import Flags, Floats

THRESHOLDS: Final = (0.25, 0.5, 0.75)
"""Lower ends of the bands watch, high and critical, as scoring ships them."""
NEW_DAYS: Final = 91.0
SHAP_ROWS_MAX: Final = 1_000
"""Rows explained for the summary, in under a second."""
SEED: Final = 7


def segments(seen: Sequence[HeldOutCutoff]) -> list[tuple[str | int | float, ...]]:
    """Return, by segment: name, rows, share silent, mean score, AUC, log loss, AUC of BG/NBD."""
    x = np.concatenate([one.rows.x for one in seen])
    silent = np.concatenate([one.rows.silent for one in seen])
    p = np.concatenate([one.predictions[CHOSEN] for one in seen])
    simple = np.concatenate([one.predictions["bg_nbd"] for one in seen])
    rows: list[tuple[str | int | float, ...]] = []
    for name, which in _groups(x, seen[0].rows.horizon_days).items():
        if which.any():
            y = silent[which]
            rows.append(
                (name, int(which.sum()), float(y.mean()), float(p[which].mean()),
                 roc_auc(y, p[which]), log_loss(y, p[which]), roc_auc(y, simple[which]))
            )  # fmt: skip
    return rows


def lead_times(seen: Sequence[HeldOutCutoff]) -> list[tuple[float | int | None, ...]]:
    """Return, by threshold: warnings, their share, precision, days before the purchase was due."""
    rows: list[tuple[float | int | None, ...]] = []
    active = np.concatenate([one.rows.subset("active") for one in seen])
    x = np.concatenate([one.rows.x for one in seen])[active]
    silent = np.concatenate([one.rows.silent for one in seen])[active]
    p = np.concatenate([one.predictions[CHOSEN] for one in seen])[active]
    early = expected_gap_days(x) - column(x, "recency_days")
    for threshold in THRESHOLDS:
        warned = p >= threshold
        count = int(warned.sum())
        if not count:
            rows.append((threshold, 0, 0.0 if len(p) else None, *[None] * 5))
            continue
        late, middle, soon = (float(q) for q in np.quantile(early[warned], (0.25, 0.5, 0.75)))
        rows.append(
            (threshold, count, count / len(p), float(silent[warned].mean()), middle, soon, late,
             float((early[warned] > 0).mean()))
        )  # fmt: skip
    return rows


def shap_spread(one: HeldOutCutoff) -> Mapping[str, tuple[float, float, float]]:
    """Map feature to 5 %, 50 %, 95 % of its contributions to the log-odds, strongest first."""
    if one.trained is None or not len(one.rows):
        return {}
    rows = np.random.default_rng(SEED).permutation(len(one.rows))[:SHAP_ROWS_MAX]
    contributions = np.asarray(
        one.trained.booster.predict(one.rows.x[rows], pred_contrib=True, num_threads=1)
    )[:, :-1]
    strength = np.abs(contributions).mean(axis=0)
    strongest = [at for at in np.argsort(-strength, kind="stable")[:IMPORTANT] if strength[at]]
    low, middle, high = np.quantile(contributions, (0.05, 0.5, 0.95), axis=0)
    return {
        FEATURES[at].name: (float(low[at]), float(middle[at]), float(high[at])) for at in strongest
    }


def _groups(x: Floats, horizon_days: int) -> dict[str, Flags]:
    days, tenure = column(x, "purchase_days"), column(x, "tenure_days")
    recency, spent = (
        column(x, "recency_days"),
        np.nan_to_num(column(x, "spent")),
    )
    active = recency <= horizon_days
    big = spent >= max(float(np.quantile(spent, 0.9)), np.finfo(float).tiny)
    return {
        "all": np.ones(len(x), dtype=np.bool_),
        "active": active,
        "silent for longer than the horizon": ~active,
        "bought on one day": days <= 1,
        "bought on two to five days": (days >= 2) & (days <= 5),  # noqa: PLR2004 (their names)
        "bought on more days": days > 5,  # noqa: PLR2004
        "new (first purchase within 91 days)": tenure <= NEW_DAYS,
        "top tenth by money spent": big,
    }
