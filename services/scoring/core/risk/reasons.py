"""Ranks the few reasons of an assessment, from contributions per feature.

A reason is given only where its condition holds in X, so that its sentence is true. Where it does
not, the next reason of `otherwise` that holds explains its features; where none holds, their
contribution is not reported. A reason marked `always` (an open complaint) is reported whenever it
holds, with impact 0 where it adds nothing to the score.
"""

import math
from typing import Final

import numpy as np

from services.scoring.core.features.registry import feature_index
from services.scoring.core.risk.reason_catalogue import REASON_INDEX, REASONS, ReasonSpec
from services.scoring.core.risk.reason_facts import FACTS
from shared.contracts.risk import Reason
from shared.kernel.arrays import Flags, Floats

__all__ = ["REASONS", "REASON_INDEX", "ReasonSpec", "reasons", "rule_reasons"]


TOP: Final = 3
"""Reasons that a task quotes: an owner reads three, and the fourth explains little."""

_COLUMNS: Final = [np.array([feature_index[name] for name in spec.features]) for spec in REASONS]
_ALWAYS: Final = np.array([spec.always for spec in REASONS])
_CANDIDATES: Final = [
    [at, *(REASON_INDEX[code] for code in spec.otherwise if code != spec.code)]
    for at, spec in enumerate(REASONS)
]


def reasons(contributions: Floats, x: Floats, top: int = TOP) -> list[list[Reason]]:
    """Return the reasons of a model's assessments, per customer, by falling impact, up to `top`.

    `contributions` float64[n, F]: additions to the log-odds per feature (TreeSHAP, without
    the constant); `x` float64[n, F]. Only reasons that raise the risk, and `always` reasons.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        holds = _holds(x)
        impact = np.zeros(holds.shape)
        for columns, candidates in zip(_COLUMNS, _CANDIDATES, strict=True):
            share = contributions[:, columns].sum(axis=1)
            for candidate in candidates:
                speaks = holds[:, candidate]
                impact[:, candidate] += np.where(speaks, share, 0.0)
                # Only a raised risk is passed on: buying often must not hide a silence.
                share = np.where(speaks, 0.0, np.maximum(share, 0.0))
        return _ranked(impact, holds, x, top)


def rule_reasons(x: Floats, top: int = TOP) -> list[list[Reason]]:
    """Return the reasons of the rhythm rule's assessments, as `reasons`; impacts are `points`.

    The rule's probability depends on rhythm only. The other reasons stand beside it, so that an
    open complaint or a fall in interactions is reported from the first day, without a model.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        holds = _holds(x)
        points = np.stack([spec.points(x) for spec in REASONS], axis=1)
        return _ranked(np.where(holds, points, 0.0), holds, x, top)


def _holds(x: Floats) -> Flags:
    return np.stack([spec.holds(x) for spec in REASONS], axis=1)


def _ranked(impact: Floats, holds: Flags, x: Floats, top: int) -> list[list[Reason]]:
    must = holds & _ALWAYS
    chosen = np.argsort(-np.where(must, np.inf, impact), axis=1, kind="stable")[:, :top]
    by_impact = np.argsort(-np.take_along_axis(impact, chosen, axis=1), axis=1, kind="stable")
    order = np.take_along_axis(chosen, by_impact, axis=1)
    facts = {name: of(x).tolist() for name, of in FACTS.items()}
    return [
        [
            Reason(
                code=REASONS[at].code,
                impact=max(0.0, float(impact[row, at])),
                facts={
                    name: facts[name][row]
                    for name in REASONS[at].facts
                    # NaN means "not known of this customer", and is no valid JSON either.
                    if not math.isnan(facts[name][row])
                },
            )
            for at in best
            if impact[row, at] > 0 or must[row, at]
        ]
        for row, best in enumerate(order.tolist())
    ]
