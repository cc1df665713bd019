"""Fold and assess one turn's customers: columns in, effects out. No I/O, no clock.

Runs in a thread, off the event loop: numpy and LightGBM hold it for tens of milliseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core import material
from services.scoring.core import state as states_of
from services.scoring.core.bands import NO_BAND, band_index
from services.scoring.core.catalogue import REASON_INDEX
from services.scoring.core.events import EventColumns, Kind
from services.scoring.core.features import features
from services.scoring.core.fold import fold
from services.scoring.core.identity import stable_hash
from services.scoring.core.message import expected_value, last_purchase
from services.scoring.core.reasons import reasons, rule_reasons
from services.scoring.core.registry import feature_index
from services.scoring.core.rhythm import BAND_WATCHED, assessable, ebbing, next_look
from services.scoring.core.state import FEATURE_SET
from services.scoring.core.value.standing import Risk
from services.scoring.handlers.stand import Stand
from services.scoring.ports import (
    AssessmentRow,
    Effects,
    EventRows,
    Loaded,
    PartitionTurn,
    Predictor,
)
from shared.contracts.risk import BANDS, ENCODER, Reason, RiskAssessed
from shared.kernel.errors import Transient
from shared.postgres.outbox import Message

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AFTER_BACKFILL: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A timer of whom an import touched: due as soon as it has ended, and that look is the first."""

AT_NEXT_TICK: Final = AFTER_BACKFILL + timedelta(seconds=1)
"""A timer of whom live events touched between ticks: due at the next one."""

AT_ONCE: Final = frozenset({AFTER_BACKFILL, AT_NEXT_TICK})


class Work:
    """The customers of one turn: those touched by events and those whose timer is due."""

    def __init__(
        self, events: EventRows, turns: list[PartitionTurn], due: list[tuple[str, int]]
    ) -> None:
        self.events = events
        self.turns = {t.tp[1]: t for t in turns}
        self._row_of: dict[str, int] = {}
        self.customers: list[str] = []
        self.partition: list[int] = []
        self.event_rows = [
            self._add(customer, record.partition)
            for customer, record in zip(events.customer, events.record, strict=True)
        ]
        self.touched = len(self.customers)
        """The first so many customers were touched by events."""
        self.due_rows = [self._add(customer, partition) for customer, partition in due]
        self.partitions = set(self.partition)
        self.imported = {
            row for row, live in zip(self.event_rows, events.live, strict=True) if not live
        }
        """Rows that a backfill touched in this turn."""

    def _add(self, customer: str, partition: int) -> int:
        row = self._row_of.setdefault(customer, len(self.customers))
        if row == len(self.customers):
            self.customers.append(customer)
            self.partition.append(partition)
        return row


@dataclass(frozen=True, slots=True)
class Assessor:
    """The arithmetic of a turn with a deployment's settings."""

    risk_topic: str
    thresholds: tuple[float, float, float]
    reasons_max: int
    currency: str

    def __call__(self, job: Work, loaded: Loaded, predictor: Predictor, stand: Stand) -> Effects:
        """Everything that the turn writes, but for moves and time of recording."""
        states = _states(loaded)
        if len(job.events):
            states = fold(states, _columns(job))
        effects = Effects(
            events=job.events,
            states=[
                (job.customers[i], job.partition[i], packed)
                for i, packed in enumerate(states_of.to_bytes(states[: job.touched]))
            ],
            timers=[],
            assessments=[],
            predictor=predictor,
            messages=[],
            moves=[],
            recorded_at=AFTER_BACKFILL,
        )
        rows = self._arm_the_rest(job, loaded, effects)
        if len(rows):
            self._assess(job, loaded, predictor, states, rows, effects, stand)
        effects.messages += stand.stood.messages
        effects.quality = stand.stood.quality
        return effects

    def _arm_the_rest(self, job: Work, loaded: Loaded, effects: Effects) -> Ints:
        """Rows to assess now. Those touched by a backfill that goes on, or before the tick, wait
        for a timer; a timer that an assessment has overtaken meanwhile only moves on."""
        now = set()
        for row in job.due_rows:
            if (later := self._overtaken(job, loaded, row)) is None:
                now.add(row)
            else:
                effects.timers.append((job.customers[row], job.partition[row], later))
        for row, live in zip(job.event_rows, job.events.live, strict=True):
            turn = job.turns[job.partition[row]]
            if turn.sweeping or (live and turn.now is not None):
                now.add(row)
        for row in range(job.touched):
            due = AFTER_BACKFILL if _onboarding(job, loaded, row) else AT_NEXT_TICK
            if row not in now and loaded.due_at[row] != due:
                effects.timers.append((job.customers[row], job.partition[row], due))
        return np.array(sorted(now), np.int64)

    def _overtaken(self, job: Work, loaded: Loaded, row: int) -> datetime | None:
        look_at, now = loaded.look_at[row], job.turns[job.partition[row]].now
        if row < job.touched or look_at is None or now is None or loaded.due_at[row] in AT_ONCE:
            return None
        return look_at if look_at > now else None

    def _assess(
        self,
        job: Work,
        loaded: Loaded,
        predictor: Predictor,
        states: NDArray[np.void],
        rows: Ints,
        effects: Effects,
        stand: Stand,
    ) -> None:
        now = np.array([_seconds(job.turns[job.partition[row]].now) for row in rows])
        x = features(states[rows], now)
        buyers = np.flatnonzero(assessable(x))
        previous = np.array([_or(loaded.band[row], NO_BAND) for row in rows], np.int8)
        band, probability = np.full(len(rows), NO_BAND, np.int8), np.full(len(rows), np.nan)
        probability[buyers] = predictor.predict(x[buyers])
        band[buyers] = band_index(probability[buyers], previous[buyers], self.thresholds)
        watched = ebbing(x, band, predictor.horizon_days)
        due = next_look(x, now, watched, predictor.horizon_days).tolist()
        looks = [datetime.fromtimestamp(seconds, UTC) for seconds in due]
        self._arm(job, loaded, rows, looks, effects)
        stand(
            rows, x, now,
            Risk(band, probability, probability * expected_value(x, predictor.horizon_days)),
            states["categories"][rows], loaded.state, lambda row: _onboarding(job, loaded, row),
        )  # fmt: skip
        if not len(buyers):
            return
        new = material.Assessed(
            now, probability, band, np.full(len(rows), material.NO_REASON, np.int8)
        )
        before = _published(loaded, rows)
        # Whoever is gone is explained only where the number alone is news.
        needed = watched | material.is_material(new, before, watched)
        why: list[list[Reason]] = [[] for _ in rows]
        # Reasons cost fifty times a prediction: only those who may become a task get them.
        explained = buyers[needed[buyers] & (band[buyers] >= BAND_WATCHED)]
        if len(explained):
            for at, told in zip(explained, self._why(predictor, x[explained]), strict=True):
                why[at] = told
        new = replace(new, reason=np.array([_leading(told) for told in why], np.int8))
        publish = material.is_material(new, before, watched)
        write = _Writer(job, loaded, predictor, self, x, now, looks, stand)
        news = publish.tolist()
        for row, at in zip(rows[buyers].tolist(), buyers.tolist(), strict=True):
            write(effects, row, at, new, why[at], told=news[at])

    def _why(self, predictor: Predictor, x: Floats) -> list[list[Reason]]:
        if predictor.method != "model":
            return rule_reasons(x, self.reasons_max)
        return reasons(predictor.explain(x), x, self.reasons_max)

    def _arm(
        self,
        job: Work,
        loaded: Loaded,
        rows: Ints,
        looks: Sequence[datetime],
        effects: Effects,
    ) -> None:
        """Timers move when they fire, not with every event: an earlier one only looks again.

        One that wanted this very look has it, whether it was among those due or not.
        """
        fired = set(job.due_rows)
        for row, at in zip(rows.tolist(), looks, strict=True):
            before = loaded.due_at[row]
            if row in fired or before is None or before in AT_ONCE or at < before:
                effects.timers.append((job.customers[row], job.partition[row], at))


class _Writer:
    """Writes one customer's assessment and, where it is news, the message."""

    def __init__(
        self,
        job: Work,
        loaded: Loaded,
        predictor: Predictor,
        assessor: Assessor,
        x: Floats,
        now: Floats,
        looks: Sequence[datetime],
        stand: Stand,
    ) -> None:
        self._stand = stand
        self._job = job
        self._loaded = loaded
        self._predictor = predictor
        self._assessor = assessor
        self._x = x
        self._looks = looks
        self._features = np.ascontiguousarray(x, "<f8").tobytes()
        self._features_bytes = 8 * x.shape[1]
        self._value = expected_value(x, predictor.horizon_days)
        self._last = last_purchase(x, now)
        self._received = _received(job)

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
                Message(turn.tp, self._assessor.risk_topic, customer.encode(), message)
            )
        effects.assessments.append(
            AssessmentRow(
                customer=customer,
                revision=_or(self._loaded.revision[row], 0) + 1,
                assessed_at=_now(turn),
                probability=float(new.probability[at]),
                band=int(new.band[at]),
                look_at=self._looks[at],
                features=self._features[start : start + self._features_bytes],
                published_reason=leading,
                value_at_risk=float(new.probability[at] * self._value[at]),
                message=message,
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
            revision=_or(self._loaded.revision[row], 0) + 1,
            assessed_at=_now(turn),
            probability=probability,
            horizon_days=self._predictor.horizon_days,
            band=BANDS[new.band[at]],
            previous_band=None if previous is None else BANDS[previous],
            onboarding=previous is None and _onboarding(self._job, self._loaded, row),
            method=self._predictor.method,
            model_version=self._predictor.version,
            feature_set=FEATURE_SET,
            reasons=why,
            purchases=int(self._feature(at, "purchases")),
            last_purchase_at=datetime.fromtimestamp(self._last[at], UTC),
            days_silent=self._feature(at, "recency_days"),
            usual_gap_days=_defined(self._feature(at, "gap_mean_days")),
            expected_value=expected,
            value_at_risk=probability * expected,
            currency=self._assessor.currency,
            standing=self._stand.told(at),
            received_ms=self._received.get(row, turn.tick_received_ms),
        )

    def _feature(self, at: int, name: str) -> float:
        return float(self._x[at, feature_index[name]])


def _states(loaded: Loaded) -> NDArray[np.void]:
    for found in set(loaded.feature_set) - {None, FEATURE_SET}:
        raise Transient(
            f"stored states have feature set {found}, this version has {FEATURE_SET}: scoring "
            "goes on once `python -m services.scoring rebuild` has made them anew"
        )
    states = states_of.empty(len(loaded.state))
    known = [i for i, packed in enumerate(loaded.state) if packed is not None]
    if known:
        states[known] = states_of.from_bytes([p for p in loaded.state if p is not None])
    return states


def _columns(job: Work) -> EventColumns:
    """The events that change state, as the kernel reads them."""
    events = job.events
    at = [i for i, kind in enumerate(events.kind) if kind]
    kinds = np.array([events.kind[i] for i in at], np.uint8)
    keys = np.zeros(len(at), np.uint64)
    for n in np.flatnonzero((kinds == Kind.SURVEY) | (kinds == Kind.RECOMMENDATION)):
        keys[n] = stable_hash(events.source[at[n]], events.id[at[n]])
    return EventColumns(
        row=np.array([job.event_rows[i] for i in at], np.int64),
        kind=kinds,
        time=np.array([events.time[i].timestamp() for i in at]),
        amount=np.array([events.amount[i] for i in at], np.float64),
        score=np.array([events.score[i] for i in at], np.float64),
        key=keys,
        category=np.array([events.category[i] for i in at], np.uint64),
        cost=np.array([events.cost[i] for i in at], np.float64),
        channel=np.array([events.channel[i] for i in at], np.uint8),
    )


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


def _onboarding(job: Work, loaded: Loaded, row: int) -> bool:
    """An import touched the customer, and nobody has looked since."""
    return row in job.imported or loaded.due_at[row] == AFTER_BACKFILL


def _published(loaded: Loaded, rows: Ints) -> material.Assessed:
    return material.Assessed(
        at=np.array([_seconds(loaded.published_at[row]) for row in rows]),
        probability=np.array(
            [math.nan if (p := loaded.published_probability[row]) is None else p for row in rows]
        ),
        band=np.array([_or(loaded.published_band[row], NO_BAND) for row in rows], np.int8),
        reason=np.array(
            [REASON_INDEX.get(loaded.published_reason[row] or "", -1) for row in rows], np.int8
        ),
    )


def _leading(why: list[Reason]) -> int:
    return REASON_INDEX[why[0].code] if why else material.NO_REASON


def _now(turn: PartitionTurn) -> datetime:
    if turn.now is None:
        raise AssertionError("assessed at no time")
    return turn.now


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _seconds(at: datetime | None) -> float:
    return math.nan if at is None else at.timestamp()


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
