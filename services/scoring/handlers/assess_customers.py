"""Folds and assesses one batch's customers: columns in, effects out. No I/O, no clock.

Runs in a thread, off the event loop: numpy and LightGBM hold it for tens of milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features import contracts
from services.scoring.core.features import state as states_of
from services.scoring.core.features.compute import features
from services.scoring.core.features.decode import category_of
from services.scoring.core.features.events import EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.features.times import seconds_of, whole_us
from services.scoring.core.monitoring.source_outage import stopped
from services.scoring.core.risk import horizons, publication
from services.scoring.core.risk.assessment_schedule import (
    assessment_step_days,
    ebbing,
    next_assessment,
)
from services.scoring.core.risk.bands import NO_BAND, band_index
from services.scoring.core.risk.expected_value import expected_value
from services.scoring.core.risk.lapse import ORDINARY_SHARE, SilenceColumns, silences_of
from services.scoring.core.risk.reasons import reasons, rule_reasons
from services.scoring.core.risk.rhythm import assessable
from services.scoring.core.risk.timers import (
    AFTER_BACKFILL,
    AT_NEXT_TICK,
    NEVER,
    at_once,
    onboarding,
)
from services.scoring.core.signs.detectors import SILENCES, Seen, Signs, detect, wait_s
from services.scoring.core.value.classify import Risk
from services.scoring.handlers.batch_customers import BatchCustomers
from services.scoring.handlers.classify_customers import ClassifyCustomers
from services.scoring.handlers.write_assessments import RiskColumns, WriteAssessments
from services.scoring.ports import (
    AssessedRows,
    BatchEffects,
    EventRows,
    LoadedRows,
    NewAssessments,
    Predictor,
    sources_of,
)
from services.scoring.settings import ScoringSettings
from shared.contracts.risk import Reason
from shared.kernel.arrays import Flags, Floats, Ints

BAND_EXPLAINED: Final = 2
"""Band high: from here on the reasons explain the score itself."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Assessor:
    """Arithmetic of a batch with a deployment's settings."""

    risk_topic: str
    thresholds: tuple[float, float, float]
    reasons_max: int
    currency: str
    also_horizons_days: Sequence[int]
    """Horizons that are published beside the predictor's own."""

    @classmethod
    def of(cls, settings: ScoringSettings) -> Self:
        """Returns the assessor of a deployment with these settings."""
        return cls(
            risk_topic=settings.risk_topic,
            thresholds=settings.band_thresholds,
            reasons_max=settings.reasons_max,
            currency=settings.reporting_currency,
            also_horizons_days=settings.also_horizons_days,
        )

    def __call__(
        self,
        customers: BatchCustomers,
        loaded: LoadedRows,
        predictor: Predictor,
        classification: ClassifyCustomers,
    ) -> BatchEffects:
        """Returns everything that the batch writes, except moves and the recording time."""
        states = loaded.state
        if len(customers.events):
            states = fold(states, event_columns(customers.events, customers.event_rows))
        effects = BatchEffects(
            events=customers.events,
            customers=customers.ids,
            partition=customers.partition,
            states=states[: customers.touched],
            stored=loaded.known,
            timer=loaded.due_at,
            due_at=np.full(len(customers), np.nan),
            assessments=NewAssessments.nothing(0),
            predictor=predictor,
            messages=[],
            moves=[],
            recorded_at=EPOCH,
        )
        rows = self._arm_the_rest(customers, loaded, effects)
        if len(rows):
            self._assess(customers, loaded, predictor, states, rows, effects, classification)
        effects.messages += classification.messages
        effects.quality = classification.quality
        return effects

    def _arm_the_rest(
        self, customers: BatchCustomers, loaded: LoadedRows, effects: BatchEffects
    ) -> Ints:
        """Arms the timers of rows not assessed now, and returns the rows to assess now.

        Customers touched by a backfill under way, or before the tick, wait for a timer; those who
        do not want to be assessed wait for ever. A due timer only moves on where a later assessment
        has already replaced the one it was set for."""
        touched, timed = np.arange(len(customers)) < customers.touched, ~np.isnan(customers.now)
        replaced = customers.due & ~touched & ~at_once(loaded.due_at)
        replaced &= loaded.next_assessment_at > customers.now
        to_assess = (customers.due & ~replaced) | (touched & customers.sweeping) | customers.live
        now = to_assess & timed & ~customers.left_out
        effects.due_at[replaced] = loaded.next_assessment_at[replaced]
        due = np.where(onboarding(customers.imported, loaded.due_at), AFTER_BACKFILL, AT_NEXT_TICK)
        waits = touched & ~now & (loaded.due_at != due)
        effects.due_at[waits] = due[waits]
        never = np.where(loaded.due_at == NEVER, np.nan, NEVER)
        effects.due_at[customers.left_out] = never[customers.left_out]
        return np.flatnonzero(now)

    def _assess(
        self,
        customers: BatchCustomers,
        loaded: LoadedRows,
        predictor: Predictor,
        states: NDArray[np.void],
        rows: Ints,
        effects: BatchEffects,
        classification: ClassifyCustomers,
    ) -> None:
        if len(rows) < len(customers):
            loaded, states = loaded.take(rows), states_of.take(states, rows)
        now = customers.now[rows]
        x = features(states, now)
        paused = classification.paused_days(rows, x, now)
        valuation = classification.valuation
        silences = silences_of(x, valuation.lapse_clock, paused)
        # A customer with an ended contract is known to be gone: a silence is no risk.
        left = contracts.ended(states)
        buyers = np.flatnonzero(assessable(x) & ~left)
        risk = self._risk(predictor, x, silences, buyers, loaded, valuation.limits.amount)
        new = onboarding(customers.imported[rows], loaded.due_at)
        classification.run(
            rows, x, now, Risk(risk.band, risk.probability, risk.value_at_risk),
            states["categories"], loaded.known, new, paused,
        )  # fmt: skip
        source_stopped = _source_stopped(customers, rows, states)
        seen = Seen(
            x, silences, risk.lapse, classification.grade, classification.lifecycle,
            source_stopped, now,
        )  # fmt: skip
        signs = detect(seen, loaded.published_signs)
        next_assessments = whole_us(next_assessment(silences, now, now + wait_s(x)))
        effects.due_at[rows] = _armed(customers.due[rows], loaded.due_at, next_assessments)
        if not len(buyers):
            return
        bits = publication.published_bits(signs.bits, silences.reached)
        found = publication.AssessmentColumns(now, risk.probability, risk.band, bits)
        step_days = assessment_step_days(silences)
        heartbeat = np.where(ebbing(silences), step_days, publication.HEARTBEAT_DAYS)
        publish = publication.is_material(found, _published(loaded), heartbeat)
        why = self._why(predictor, x, signs, risk, buyers[publish[buyers]])
        effects.assessed = AssessedRows(risk.probability[buyers], risk.band[buyers])
        # A timer that fires at once counts as touched: how events are cut into batches must not
        # change the result.
        touched = (rows < customers.touched) | at_once(loaded.due_at)
        same = publication.is_same(risk.probability, loaded.probability) & ~touched
        kept = same & ~publish & (loaded.model_version == predictor.version)
        buyers = buyers[~kept[buyers]]
        if not len(buyers):
            return
        days, by_horizon = self._over_horizons(predictor, x, buyers, risk)
        write = WriteAssessments(
            customers=customers, rows=rows, loaded=loaded, predictor=predictor, x=x,
            classification=classification, risk_topic=self.risk_topic, currency=self.currency,
            days=days, by_horizon=by_horizon, risk=risk, silences=silences, new=found, reasons=why,
            signs=signs, next_assessments=next_assessments, publish=publish, onboarding=new,
        )  # fmt: skip
        write(effects, buyers)

    def _risk(
        self,
        predictor: Predictor,
        x: Floats,
        silences: SilenceColumns,
        buyers: Ints,
        loaded: LoadedRows,
        amount_most: float,
    ) -> RiskColumns:
        """Returns probabilities, bands and values of the buyers; other rows stay undefined.

        A mean order above `amount_most`, the most that the base supports, counts as that."""
        n = len(x)
        band = np.full(n, NO_BAND, np.int8)
        probability, lapse = np.full(n, np.nan), np.full(n, np.nan)
        p = predictor.predict(x[buyers])
        # An ordinary silence is no risk yet, however seldom the customer buys.
        ordinary = silences.share[buyers] < ORDINARY_SHARE
        probability[buyers], lapse[buyers] = (
            p,
            predictor.lapse_probability(x[buyers], p, silences.rest[buyers]),
        )
        banded = band_index(lapse[buyers], loaded.band[buyers], self.thresholds)
        band[buyers] = np.where(ordinary, 0, banded)
        expected = expected_value(x, predictor.horizon_days, amount_most)
        return RiskColumns(band, probability, lapse, expected)

    def _over_horizons(
        self, predictor: Predictor, x: Floats, buyers: Ints, risk: RiskColumns
    ) -> tuple[Sequence[int], Floats]:
        """Returns the horizons to publish, in days, and P(no purchase) of each row over them."""
        # The end of a contract grows likelier with the horizon, and does not follow the rhythm.
        others = self.also_horizons_days if predictor.labels == "silence" else ()
        days = horizons.horizons_to_publish(others, predictor.horizon_days)
        by_horizon = np.full((len(x), len(days)), np.nan)
        by_horizon[buyers] = predictor.over(x[buyers], risk.probability[buyers], days)
        return days, by_horizon

    def _why(
        self, predictor: Predictor, x: Floats, signs: Signs, risk: RiskColumns, rows: Ints
    ) -> dict[int, list[Reason]]:
        """Returns the reasons of the published rows.

        The model's contributions explain rows with a score that may cause a warning: a silence is a
        sign, or the band is at least high. They cost fifty times a prediction, so all other rows
        get the rule's reasons, which follow from the features.
        """
        scored = (signs.bits[rows] & SILENCES > 0) | (risk.band[rows] >= BAND_EXPLAINED)
        scored &= predictor.method == "model"
        why: dict[int, list[Reason]] = {}
        for part, by_model in ((rows[scored], True), (rows[~scored], False)):
            if len(part):
                found = (
                    reasons(predictor.explain(x[part]), x[part], self.reasons_max)
                    if by_model
                    else rule_reasons(x[part], self.reasons_max)
                )
                why |= zip(part.tolist(), found, strict=True)
        return why


def _armed(fired: Flags, before: Floats, next_assessments: Floats) -> Floats:
    """Returns the timers to arm; NaN: the timer stays.

    A timer moves when it fires, not with every event: one that fires too early only causes another
    assessment. A timer set to fire at once is satisfied by this assessment, whether it was among
    the due ones or not.
    """
    moves = fired | np.isnan(before) | at_once(before) | (next_assessments < before)
    return np.where(moves, next_assessments, np.nan)


def event_columns(events: EventRows, rows: Ints) -> EventColumns:
    """Returns the events that change state, as columns for `fold`; `rows` are their customers'."""
    kind = np.array(events.kind, np.uint8)
    key = np.zeros(len(kind), np.uint64)
    for n in np.flatnonzero((kind == Kind.SURVEY) | (kind == Kind.RECOMMENDATION)).tolist():
        key[n] = stable_hash(events.source[n], events.id[n])
    columns = EventColumns(
        row=rows,
        kind=kind,
        time=seconds_of(events.time),
        amount=np.array(events.amount, np.float64),
        score=np.array(events.score, np.float64),
        key=key,
        category=np.array(events.category, np.uint64),
        cost=np.array(events.cost, np.float64),
        channel=np.array(events.channel, np.uint8),
        source=np.fromiter(map(category_of, events.source), np.uint64, len(kind)),
        until=np.array(events.until, np.float64),
    )
    changes = kind > 0
    return columns if changes.all() else columns.select(changes)


def _source_stopped(customers: BatchCustomers, rows: Ints, states: NDArray[np.void]) -> Flags:
    """Returns bool[n]: the newest purchase's source has stopped delivering to the partition."""
    found = np.zeros(len(rows), np.bool_)
    for partition, part in customers.parts.items():
        if part.now is None:
            continue
        if gone := stopped(sources_of(part.progress), part.now.timestamp()):
            here = np.asarray(customers.partition)[rows] == partition
            hashes = np.array([category_of(source) for source in gone], np.uint64)
            found |= here & np.isin(states["source"], hashes)
    return found


def _published(loaded: LoadedRows) -> publication.AssessmentColumns:
    return publication.AssessmentColumns(
        loaded.published_at,
        loaded.published_probability,
        loaded.published_band,
        loaded.published_signs,
    )
