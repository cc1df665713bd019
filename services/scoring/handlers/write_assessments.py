"""Writes customers' assessments and the risk messages about those to publish."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.scoring.core.features.registry import column
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.features.times import moments
from services.scoring.core.risk import horizons, publication
from services.scoring.core.risk.bands import NO_BAND
from services.scoring.core.risk.expected_value import last_purchase
from services.scoring.core.risk.feature_row import feature_rows
from services.scoring.core.risk.lapse import SilenceColumns
from services.scoring.core.signs.detectors import Signs
from services.scoring.core.value.compare import defined
from services.scoring.handlers.batch_customers import BatchCustomers
from services.scoring.handlers.classify_customers import ClassifyCustomers
from services.scoring.ports import BatchEffects, LoadedRows, NewAssessments, Predictor
from shared.contracts.risk import BANDS, ENCODER, Lapse, Reason, RiskAssessed, Within
from shared.kernel.arrays import Codes, Flags, Floats, Ints
from shared.postgres.outbox import Message


@dataclass(frozen=True, slots=True)
class RiskColumns:
    """Risk of a batch's rows: columns of length n, NaN where undefined."""

    band: Codes
    probability: Floats
    """P(no purchase within the predictor's horizon)."""
    lapse: Floats
    """P(the present silence reaches the lapse length)."""
    expected_value: Floats
    """Money expected within the horizon had the customer stayed, reporting currency."""

    @property
    def value_at_risk(self) -> Floats:
        """Value at risk: lapse probability x expected value, reporting currency."""
        return self.lapse * self.expected_value


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteAssessments:
    """Writes the assessments of a batch; all of its columns have the order of `rows`."""

    customers: BatchCustomers
    rows: Ints
    loaded: LoadedRows
    predictor: Predictor
    x: Floats
    classification: ClassifyCustomers
    risk_topic: str
    currency: str
    days: Sequence[int]
    by_horizon: Floats
    """float64[n, k]: P(no purchase) of each row over each of `days`."""
    risk: RiskColumns
    silences: SilenceColumns
    new: publication.AssessmentColumns
    reasons: Mapping[int, Sequence[Reason]]
    """Reasons of the published rows."""
    signs: Signs
    next_assessments: Floats
    publish: Flags
    onboarding: Flags

    def __call__(self, effects: BatchEffects, buyers: Ints) -> None:
        """Writes the assessments of `buyers`, and messages about those marked in `publish`."""
        published, message = self.publish[buyers], np.full(len(buyers), None, np.object_)
        message[published] = self._messages(effects, buyers[published])
        packed = np.empty(len(buyers), np.object_)
        packed[:] = horizons.pack(self.days, self.by_horizon[buyers])
        # The signs last sent to the topic stay until the next message about the customer.
        signs = np.where(self.publish, self.new.signs, self.loaded.published_signs)
        effects.assessments = NewAssessments(
            row=self.rows[buyers],
            revision=self.loaded.revision[buyers] + 1,
            assessed_at=self.new.at[buyers],
            probability=self.new.probability[buyers],
            band=self.new.band[buyers],
            next_assessment_at=self.next_assessments[buyers],
            features=self.x[buyers],
            published_signs=signs[buyers],
            value_at_risk=self.risk.value_at_risk[buyers],
            published=published,
            message=message,
            horizons=packed,
        )

    def _messages(self, effects: BatchEffects, published: Ints) -> list[bytes]:
        if not len(published):
            return []
        encoded: list[bytes] = []
        for row, values in zip(
            self.rows[published].tolist(), self._columns(published), strict=True
        ):
            customer = self.customers.ids[row]
            encoded.append(ENCODER.encode(self._message(customer, *values)))
            tp = self.customers.parts[self.customers.partition[row]].tp
            effects.messages.append(Message(tp, self.risk_topic, customer.encode(), encoded[-1]))
        return encoded

    def _columns(self, published: Ints) -> Iterator[tuple[Any, ...]]:
        """Returns the inputs of `_message` for each row, as Python values."""
        x, now = self.x[published], self.new.at[published]
        return zip(
            published.tolist(),
            moments(now),
            self.new.probability[published].tolist(),
            self.new.band[published].tolist(),
            (self.loaded.revision[published] + 1).tolist(),
            self.loaded.band[published].tolist(),
            self.onboarding[published].tolist(),
            self.by_horizon[published].tolist(),
            self.risk.expected_value[published].tolist(),
            self.risk.lapse[published].tolist(),
            self.silences.days[published].tolist(),
            self.silences.gap[published].tolist(),
            self.silences.own[published].tolist(),
            column(x, "purchases").tolist(),
            moments(last_purchase(x, now)),
            self.silences.silence[published].tolist(),
            column(x, "gap_mean_days").tolist(),
            _received(self.customers)[self.rows[published]].tolist(),
            feature_rows(x, self.risk.lapse[published]),
            strict=True,
        )

    def _message(self, customer: str, *values: Any) -> RiskAssessed:
        (
            row, at, probability, band, revision, previous, onboarding, by_horizon, expected, lapse,
            lapse_days, usual_gap, own, purchases, last_purchase_at, silent, gap, received_ms,
            feature_row,
        ) = values  # fmt: skip
        return RiskAssessed(
            customer_id=customer,
            revision=revision,
            assessed_at=at,
            probability=probability,
            horizon_days=self.predictor.horizon_days,
            horizons=[
                Within(days=days, probability=p)
                for days, p in zip(self.days, by_horizon, strict=True)
            ],
            lapse=Lapse(
                days=lapse_days, probability=lapse, usual_gap_days=usual_gap, own_rhythm=own
            ),
            signs=self.signs.of(row),
            band=BANDS[band],
            previous_band=None if previous == NO_BAND else BANDS[previous],
            onboarding=previous == NO_BAND and onboarding,
            method=self.predictor.method,
            model_version=self.predictor.version,
            feature_set=FEATURE_SET,
            reasons=list(self.reasons[row]),
            purchases=int(purchases),
            last_purchase_at=last_purchase_at,
            days_silent=silent,
            usual_gap_days=defined(gap),
            expected_value=expected,
            value_at_risk=lapse * expected,
            currency=self.currency,
            standing=self.classification.published(row),
            feature_row=feature_row,
            received_ms=received_ms,
        )


def _received(customers: BatchCustomers) -> Ints:
    """Returns int64[n], Unix ms: when each customer's newest live event entered the raw topic.

    At a tick, the tick is the cause: events before it wait for it by design.
    """
    received = customers.of_part(lambda part: part.tick_received_ms).astype(np.int64)
    waited = customers.of_part(lambda part: part.tick)[customers.event_rows] > 0
    cause = np.flatnonzero(np.array(customers.events.live, np.bool_) & ~waited)
    # Of several events of one customer numpy keeps the last.
    received[customers.event_rows[cause]] = np.array(customers.events.received_ms, np.int64)[cause]
    return received
