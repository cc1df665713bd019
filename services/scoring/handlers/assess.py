"""Fold and assess one turn's customers: columns in, effects out. No I/O, no clock.

Runs in a thread, off the event loop: numpy and LightGBM hold it for tens of milliseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from services.scoring.core import contracts, horizons, material
from services.scoring.core import state as states_of
from services.scoring.core.bands import NO_BAND, band_index
from services.scoring.core.catalogue import REASON_INDEX
from services.scoring.core.events import EventColumns, Kind
from services.scoring.core.features import features
from services.scoring.core.fold import fold
from services.scoring.core.identity import stable_hash
from services.scoring.core.message import expected_value
from services.scoring.core.reasons import reasons, rule_reasons
from services.scoring.core.rhythm import BAND_WATCHED, assessable, ebbing, next_look
from services.scoring.core.state import FEATURE_SET
from services.scoring.core.value.standing import Risk
from services.scoring.handlers.stand import Stand
from services.scoring.handlers.work import AFTER_BACKFILL, AT_NEXT_TICK, AT_ONCE, Work, onboarding
from services.scoring.handlers.writer import Telling, Writer
from services.scoring.ports import Effects, Loaded, Predictor
from shared.contracts.risk import Reason
from shared.kernel.errors import Transient

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Assessor:
    """The arithmetic of a turn with a deployment's settings."""

    risk_topic: str
    thresholds: tuple[float, float, float]
    reasons_max: int
    currency: str
    also_horizons_days: Sequence[int]
    """Horizons that are told beside the predictor's own."""

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
            due = AFTER_BACKFILL if onboarding(job, loaded, row) else AT_NEXT_TICK
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
        # Whose contract has ended is known to be gone: no silence of theirs is a risk.
        left = contracts.ended(states[rows])
        buyers = np.flatnonzero(assessable(x) & ~left)
        previous = np.array([_or(loaded.band[row], NO_BAND) for row in rows], np.int8)
        band, probability = np.full(len(rows), NO_BAND, np.int8), np.full(len(rows), np.nan)
        probability[buyers] = predictor.predict(x[buyers])
        band[buyers] = band_index(probability[buyers], previous[buyers], self.thresholds)
        watched = ebbing(x, band, predictor.horizon_days)
        due = next_look(x, now, watched, predictor.horizon_days).tolist()
        looks = [datetime.fromtimestamp(seconds, UTC) for seconds in due]
        self._arm(job, loaded, rows, looks, effects)
        expected = expected_value(x, predictor.horizon_days)
        stand(
            rows, x, now,
            Risk(band, probability, probability * expected),
            states["categories"][rows], loaded.state, lambda row: onboarding(job, loaded, row),
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
        telling = self._telling(predictor, x, buyers, probability, expected)
        write = Writer(job, loaded, predictor, telling, x, now, looks, stand)
        news = publish.tolist()
        for row, at in zip(rows[buyers].tolist(), buyers.tolist(), strict=True):
            write(effects, row, at, new, why[at], told=news[at])

    def _telling(
        self, predictor: Predictor, x: Floats, buyers: Ints, probability: Floats, expected: Floats
    ) -> Telling:
        # The end of a contract grows likelier with the horizon, and does not follow the rhythm.
        others = self.also_horizons_days if predictor.labels == "silence" else ()
        days = horizons.asked(others, predictor.horizon_days)
        over = np.full((len(x), len(days)), np.nan)
        over[buyers] = predictor.over(x[buyers], probability[buyers], days)
        return Telling(self.risk_topic, self.currency, days, over, expected)

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


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _seconds(at: datetime | None) -> float:
    return math.nan if at is None else at.timestamp()
