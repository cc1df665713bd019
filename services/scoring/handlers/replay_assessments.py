"""Repeats stored assessments from their features and their model, and compares the numbers.

Invariant 6: the same features and the same model version give the same number.
"""

from collections import Counter
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.scoring.core.risk.horizons import unpack
from services.scoring.ports import Predictor, PublishedAssessment
from shared.contracts.risk import DECODER
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

TOLERANCE = 1e-12
"""Allowed difference of a probability: batch size may change the last digit in vectorised code."""

DIFFERING_MAX = 20
"""Number of differing assessments that are reported one by one."""

PredictorOf = Callable[[PublishedAssessment], Predictor]
"""Returns an assessment's predictor; raises Invalid with the reason where it no longer exists."""


@dataclass(slots=True)
class Replayed:
    """Result of a comparison."""

    equal: int = 0
    differ: int = 0
    first_differing: list[tuple[PublishedAssessment, float]] = field(default_factory=list)
    """Differing assessments, each with its repeated probability."""
    impossible: Counter[str] = field(default_factory=Counter)
    """Number of assessments that cannot be repeated, by reason."""


async def replay(
    chunks: AsyncIterable[Sequence[PublishedAssessment]], predictor_of: PredictorOf
) -> Replayed:
    """Repeats and compares every assessment of every chunk."""
    found = Replayed()
    predictors: dict[tuple[str, int], Predictor | str] = {}
    async for chunk in chunks:
        by_maker: dict[tuple[str, int], list[PublishedAssessment]] = {}
        for made in chunk:
            by_maker.setdefault((made.model_version, made.horizon_days), []).append(made)
        for maker, rows in by_maker.items():
            if maker not in predictors:
                predictors[maker] = _predictor(predictor_of, rows[0])
            predictor = predictors[maker]
            if isinstance(predictor, str):
                found.impossible[predictor] += len(rows)
            else:
                _compare(found, predictor, rows)
    return found


def _predictor(predictor_of: PredictorOf, made: PublishedAssessment) -> Predictor | str:
    try:
        predictor = predictor_of(made)
    except Invalid as error:
        return f"{made.model_version}: {error}"
    if predictor.feature_set != made.feature_set:
        return f"{made.model_version}: was given feature set {made.feature_set}"
    return predictor


def _curves(
    predictor: Predictor, x: Floats, p: Floats, rows: list[PublishedAssessment]
) -> list[dict[int, float]]:
    """Returns, for each row, the probabilities over its stored horizons, computed again."""
    asked: dict[tuple[int, ...], list[int]] = {}
    for at, made in enumerate(rows):
        asked.setdefault(tuple(unpack(made.horizons)), []).append(at)
    found: list[dict[int, float]] = [{} for _ in rows]
    for days, of in asked.items():
        if days:
            for at, values in zip(of, predictor.over(x[of], p[of], days).tolist(), strict=True):
                found[at] = dict(zip(days, values, strict=True))
    return found


def _lapse_differences(
    predictor: Predictor, x: Floats, p: Floats, rows: list[PublishedAssessment]
) -> Floats:
    """Returns each lapse probability's difference from the published one.

    0 for older messages, which do not contain one."""
    stored = [DECODER.decode(made.message) for made in rows]
    lapses = [one.lapse for one in stored if one.lapse is not None]
    at = np.flatnonzero([one.lapse is not None for one in stored])
    found = np.zeros(len(rows))
    days = np.array([one.days for one in lapses])
    published = np.array([one.probability for one in lapses])
    # The published silence, not that of the features: closures and absences do not count.
    silent = np.array([one.days_silent for one in stored if one.lapse is not None], np.float64)
    rest = np.maximum(days - silent, 0.0)
    found[at] = np.abs(predictor.lapse_probability(x[at], p[at], rest) - published)
    return found


def _same(now: dict[int, float], stored: dict[int, float]) -> bool:
    return all(abs(now[days] - p) <= TOLERANCE for days, p in stored.items())


def _compare(found: Replayed, predictor: Predictor, rows: list[PublishedAssessment]) -> None:
    x = np.array([np.frombuffer(made.features, "<f8") for made in rows])
    again = predictor.predict(x)
    curves = _curves(predictor, x, again, rows)
    lapses = _lapse_differences(predictor, x, again, rows).tolist()
    for made, now, curve, lapse in zip(rows, again.tolist(), curves, lapses, strict=True):
        same = abs(now - made.probability) <= TOLERANCE and _same(curve, unpack(made.horizons))
        if same and lapse <= TOLERANCE:
            found.equal += 1
            continue
        found.differ += 1
        if len(found.first_differing) < DIFFERING_MAX:
            found.first_differing.append((made, now))
