"""Writes customers' assessments and the risk messages about those to publish."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.registry import feature_index
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.features.times import moments
from services.scoring.core.risk import horizons, publication
from services.scoring.core.risk.bands import NO_BAND
from services.scoring.core.risk.expected_value import last_purchase
from services.scoring.core.risk.lapse import Lapses
from services.scoring.core.signs.detectors import Signs
from services.scoring.core.value.compare import defined
from services.scoring.handlers.batch import BatchStep
from services.scoring.handlers.classify_customers import ClassifyCustomers
from services.scoring.ports import BatchEffects, LoadedRows, NewAssessments, Predictor
from shared.contracts.risk import BANDS, ENCODER, Lapse, Reason, RiskAssessed, Within
from shared.postgres.outbox import Message

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RiskColumns:
    """Risk of a step's rows: columns of length n, NaN where undefined."""

    band: NDArray[np.int8]
    probability: Floats
    """P(no purchase within the predictor's horizon)."""
    lapse: Floats
    """P(the present silence reaches the lapse length)."""
    expected: Floats
    """Money expected within the horizon had the customer stayed, reporting currency."""

    @property
    def value(self) -> Floats:
        """Value at risk: lapse probability x expected value, reporting currency."""
        return self.lapse * self.expected


@dataclass(frozen=True, slots=True)
class Explanations:
    """Explanations by row of the step: reasons of the published rows, signs of all rows."""

    reasons: Mapping[int, Sequence[Reason]]
    signs: Signs


@dataclass(frozen=True, slots=True)
class PublicationSettings:
    """Topic, currency, horizons and risk columns that published assessments are made from."""

    risk_topic: str
    currency: str
    days: Sequence[int]
    over: Floats
    """float64[n, k]: P(no purchase) of each row of the step over each of `days`."""
    risk: RiskColumns
    seen: Lapses


class WriteAssessments:
    """Writes the assessments of a step; all columns passed to it have the order of `rows`."""

    def __init__(
        self,
        job: BatchStep,
        rows: Ints,
        loaded: LoadedRows,
        predictor: Predictor,
        telling: PublicationSettings,
        x: Floats,
        stand: ClassifyCustomers,
    ) -> None:
        self._job = job
        self._rows = rows
        self._loaded = loaded
        self._predictor = predictor
        self._telling = telling
        self._x = x
        self._stand = stand

    def __call__(
        self,
        effects: BatchEffects,
        buyers: Ints,
        new: publication.AssessmentColumns,
        why: Explanations,
        *,
        looks: Floats,
        publish: Flags,
        onboarding: Flags,
    ) -> None:
        """Writes the assessments of `buyers`, and messages about those marked in `publish`."""
        told, message = publish[buyers], np.full(len(buyers), None, np.object_)
        message[told] = self._messages(effects, buyers[told], new, why, onboarding)
        packed = np.empty(len(buyers), np.object_)
        packed[:] = horizons.pack(self._telling.days, self._telling.over[buyers])
        effects.assessments = NewAssessments(
            row=self._rows[buyers],
            revision=self._loaded.revision[buyers] + 1,
            assessed_at=new.at[buyers],
            probability=new.probability[buyers],
            band=new.band[buyers],
            look_at=looks[buyers],
            features=self._x[buyers],
            # The signs last sent to the topic stay until the next message about the customer.
            published_signs=np.where(publish, new.signs, self._loaded.published_signs)[buyers],
            value_at_risk=self._telling.risk.value[buyers],
            told=told,
            message=message,
            horizons=packed,
        )

    def _messages(
        self,
        effects: BatchEffects,
        told: Ints,
        new: publication.AssessmentColumns,
        why: Explanations,
        onboarding: Flags,
    ) -> list[bytes]:
        if not len(told):
            return []
        columns = self._columns(told, new, onboarding)
        encoded: list[bytes] = []
        for at, row, values in zip(told.tolist(), self._rows[told].tolist(), columns, strict=True):
            customer = self._job.customers[row]
            risk = self._message(customer, values, at, why)
            encoded.append(ENCODER.encode(risk))
            cause = self._job.turns[self._job.partition[row]].tp
            effects.messages.append(
                Message(cause, self._telling.risk_topic, customer.encode(), encoded[-1])
            )
        return encoded

    def _columns(
        self, told: Ints, new: publication.AssessmentColumns, onboarding: Flags
    ) -> Iterator[tuple[Any, ...]]:
        """Returns the inputs of `_message` for each row, as Python values."""
        x, now = self._x[told], new.at[told]
        return zip(
            moments(now),
            new.probability[told].tolist(),
            new.band[told].tolist(),
            (self._loaded.revision[told] + 1).tolist(),
            self._loaded.band[told].tolist(),
            onboarding[told].tolist(),
            self._telling.over[told].tolist(),
            self._telling.risk.expected[told].tolist(),
            self._telling.risk.lapse[told].tolist(),
            self._telling.seen.days[told].tolist(),
            self._telling.seen.gap[told].tolist(),
            self._telling.seen.own[told].tolist(),
            x[:, feature_index["purchases"]].tolist(),
            moments(last_purchase(x, now)),
            self._telling.seen.silence[told].tolist(),
            x[:, feature_index["gap_mean_days"]].tolist(),
            _received(self._job)[self._rows[told]].tolist(),
            strict=True,
        )

    def _message(
        self,
        customer: str,
        values: tuple[Any, ...],
        row: int,
        why: Explanations,
    ) -> RiskAssessed:
        (
            at, probability, band, revision, previous, onboarding, over, expected, lapse,
            lapse_days, usual_gap, own, purchases, last_purchase_at, silent, gap, received_ms,
        ) = values  # fmt: skip
        return RiskAssessed(
            customer_id=customer,
            revision=revision,
            assessed_at=at,
            probability=probability,
            horizon_days=self._predictor.horizon_days,
            horizons=[
                Within(days=days, probability=p)
                for days, p in zip(self._telling.days, over, strict=True)
            ],
            lapse=Lapse(
                days=lapse_days, probability=lapse, usual_gap_days=usual_gap, own_rhythm=own
            ),
            signs=why.signs.of(row),
            band=BANDS[band],
            previous_band=None if previous == NO_BAND else BANDS[previous],
            onboarding=previous == NO_BAND and onboarding,
            method=self._predictor.method,
            model_version=self._predictor.version,
            feature_set=FEATURE_SET,
            reasons=list(why.reasons[row]),
            purchases=int(purchases),
            last_purchase_at=last_purchase_at,
            days_silent=silent,
            usual_gap_days=defined(gap),
            expected_value=expected,
            value_at_risk=lapse * expected,
            currency=self._telling.currency,
            standing=self._stand.told(row),
            received_ms=received_ms,
        )


def _received(job: BatchStep) -> Ints:
    """Returns int64[n], Unix ms: when each customer's newest live event entered the raw topic.

    At a tick, the tick is the cause: events before it wait for it by design.
    """
    received = job.of_turn(lambda turn: turn.tick_received_ms).astype(np.int64)
    waited = job.of_turn(lambda turn: turn.tick)[job.event_rows] > 0
    cause = np.flatnonzero(np.array(job.events.live, np.bool_) & ~waited)
    # Of several events of one customer numpy keeps the last.
    received[job.event_rows[cause]] = np.array(job.events.received_ms, np.int64)[cause]
    return received
