"""Writes customers' assessments and, where one is news, the message about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from services.scoring.core import horizons, material
from services.scoring.core.message import last_purchase
from services.scoring.core.registry import feature_index
from services.scoring.core.state import FEATURE_SET
from services.scoring.core.value.changes import defined
from services.scoring.handlers.stand import Stand
from services.scoring.handlers.work import Work, now_of, onboarding
from services.scoring.ports import AssessmentRow, Effects, Loaded, Predictor
from shared.contracts.risk import BANDS, ENCODER, Reason, RiskAssessed, Within
from shared.postgres.outbox import Message

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Telling:
    """How assessments are told, and over which horizons."""

    risk_topic: str
    currency: str
    days: Sequence[int]
    over: Floats
    """float64[n, k]: P(no purchase) of each row of the turn over each of `days`."""
    expected: Floats
    """float64[n]: money expected within the main horizon, reporting currency."""


class Writer:
    """Writes one customer's assessment and, where it is news, the message."""

    def __init__(
        self,
        job: Work,
        loaded: Loaded,
        predictor: Predictor,
        telling: Telling,
        x: Floats,
        now: Floats,
        looks: Sequence[datetime],
        stand: Stand,
    ) -> None:
        self._stand = stand
        self._job = job
        self._loaded = loaded
        self._predictor = predictor
        self._telling = telling
        self._x = x
        self._looks = looks
        self._features = np.ascontiguousarray(x, "<f8").tobytes()
        self._features_bytes = 8 * x.shape[1]
        self._value = telling.expected
        self._last = last_purchase(x, now)
        self._received = _received(job)
        self._horizons = horizons.pack(telling.days, telling.over)

    def __call__(
        self,
        effects: Effects,
        row: int,
        at: int,
        new: material.Assessed,
        why: list[Reason],
        *,
        told: bool,
    ) -> None:
        customer = self._job.customers[row]
        turn = self._job.turns[self._job.partition[row]]
        start = at * self._features_bytes
        message: bytes | None = None
        leading = self._loaded.published_reason[row]
        if told:
            risk = self._message(row, at, new, why)
            message = ENCODER.encode(risk)
            leading = why[0].code if why else None
            effects.messages.append(
                Message(turn.tp, self._telling.risk_topic, customer.encode(), message)
            )
        effects.assessments.append(
            AssessmentRow(
                customer=customer,
                partition=turn.tp[1],
                revision=(self._loaded.revision[row] or 0) + 1,
                assessed_at=now_of(turn),
                probability=float(new.probability[at]),
                band=int(new.band[at]),
                look_at=self._looks[at],
                features=self._features[start : start + self._features_bytes],
                published_reason=leading,
                value_at_risk=float(new.probability[at] * self._value[at]),
                message=message,
                horizons=self._horizons[at],
            )
        )

    def _message(
        self, row: int, at: int, new: material.Assessed, why: list[Reason]
    ) -> RiskAssessed:
        previous = self._loaded.band[row]
        turn = self._job.turns[self._job.partition[row]]
        expected = float(self._value[at])
        probability = float(new.probability[at])
        return RiskAssessed(
            customer_id=self._job.customers[row],
            revision=(self._loaded.revision[row] or 0) + 1,
            assessed_at=now_of(turn),
            probability=probability,
            horizon_days=self._predictor.horizon_days,
            horizons=[
                Within(days=days, probability=p)
                for days, p in zip(self._telling.days, self._telling.over[at].tolist(), strict=True)
            ],
            band=BANDS[new.band[at]],
            previous_band=None if previous is None else BANDS[previous],
            onboarding=previous is None and onboarding(self._job, self._loaded, row),
            method=self._predictor.method,
            model_version=self._predictor.version,
            feature_set=FEATURE_SET,
            reasons=why,
            purchases=int(self._feature(at, "purchases")),
            last_purchase_at=datetime.fromtimestamp(self._last[at], UTC),
            days_silent=self._feature(at, "recency_days"),
            usual_gap_days=defined(self._feature(at, "gap_mean_days")),
            expected_value=expected,
            value_at_risk=probability * expected,
            currency=self._telling.currency,
            standing=self._stand.told(at),
            received_ms=self._received.get(row, turn.tick_received_ms),
        )

    def _feature(self, at: int, name: str) -> float:
        return float(self._x[at, feature_index[name]])


def _received(job: Work) -> dict[int, int]:
    """When the newest live event of each touched customer entered the raw topic, Unix ms.

    At a tick, the tick is the cause: events before it wait for it by design.
    """
    return {
        row: received
        for row, received, live in zip(
            job.event_rows, job.events.received_ms, job.events.live, strict=True
        )
        if live and not job.turns[job.partition[row]].tick
    }
