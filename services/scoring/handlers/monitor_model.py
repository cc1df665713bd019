"""Model monitoring: score a fixed sample weekly; compare with outcomes after the horizon.

Such a weekly sample is called a roll call. Champion, challenger and rule score the same customers.
Outcomes are read from the customers' states; treated customers are left out or weighted as in
training. Drift compares the sample with the rows that the model learned from. The results are
stored in tables, so that every replica shows the same gauges. Monitoring never changes which model
serves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np
import structlog

from services.scoring import metrics
from services.scoring.core.features import contracts
from services.scoring.core.features import state as states_of
from services.scoring.core.features.compute import FEATURES, features
from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import column
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.monitoring.alarms import ALARMS, alarms
from services.scoring.core.monitoring.drift import SCORE, Drift, drift
from services.scoring.core.monitoring.outcomes import (
    GroupQuality,
    first_day,
    group_quality,
    last_day,
    next_purchase_days,
    segments_of,
)
from services.scoring.core.monitoring.treatment_weights import TreatmentWindow, treatments_of, weigh
from services.scoring.core.risk.rhythm import assessable
from services.scoring.ports import Predictor
from services.scoring.store.monitoring import (
    CalledCustomer,
    MeasuredDrift,
    MeasuredScores,
    MonitoringTables,
)
from shared.kernel.arrays import Flags, Floats
from shared.kernel.errors import Invalid
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

EVERY_DAYS: Final = 7
"""Days between roll calls: a whole week, so that weekdays do not look like drift."""
CUSTOMERS_MAX: Final = 20_000
"""Customers in the sample: it measures a level to 0.004, and a roll call takes a second."""
KEEP_DAYS: Final = 730
"""Retention in days: two years cover each season twice."""


class ServingModelFacts(Protocol):
    """Rows that the serving model learned from, with their scores."""

    @property
    def x(self) -> Floats: ...
    @property
    def p(self) -> Floats: ...


class Background(Protocol):
    """Facts about a model: rows that it learned from, gain by feature, its card's measures."""

    async def reference(self, version: str) -> ServingModelFacts | None: ...
    async def importance(self, version: str) -> dict[str, float]: ...
    async def promised(self, version: str) -> Mapping[str, GroupQuality]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorModel:
    """Monitors the serving model: `look` does what is due, `watch` repeats it until stopped."""

    roll: MonitoringTables
    background: Background
    champion: Callable[[], Predictor]
    challenger: Callable[[], Predictor | None]
    rule: Callable[[int], Predictor]
    labels: Labels
    now: Callable[[], Awaitable[datetime | None]]
    poll_s: float

    async def watch(self, stop: Stop) -> None:
        """Polls until stopped; after an error of PostgreSQL or the model store, polls on."""
        await repeat(self._watch_once, stop, "model watch", self.poll_s)

    async def _watch_once(self) -> None:
        try:
            now = await self.now()
            if now is not None:
                await self.look(now)
        except Invalid as trouble:
            log.warning("the model is not watched", trouble=str(trouble))

    async def look(self, now: datetime) -> None:
        """Scores the sample if it is due, settles matured roll calls, and updates the gauges."""
        last = await self.roll.last_call()
        if last is None or (now.date() - last).days >= EVERY_DAYS:
            await self._call(now)
        for on, horizon in await self.roll.unsettled(now.date()):
            if on + timedelta(days=horizon + 1) < now.date():
                await self._settle(on)
        await self._show(now)

    async def _call(self, now: datetime) -> None:
        sampled = await self.roll.sample(FEATURE_SET, CUSTOMERS_MAX)
        champion = self.champion()
        learned = await self.background.reference(champion.version)
        scored = await asyncio.to_thread(self._scored, sampled, now, champion, learned)
        if scored is None:
            return
        called, calls, drifts = scored
        kept = [MeasuredDrift(called.date(), champion.version, d) for d in drifts]
        await self.roll.add_call(calls, kept)
        await self.roll.forget(called.date() - timedelta(days=KEEP_DAYS))
        log.info("roll called", customers=len(calls), drifted=sum(d.drifted for d in drifts))

    def _scored(
        self,
        sampled: list[tuple[str, bytes]],
        now: datetime,
        champion: Predictor,
        learned: ServingModelFacts | None,
    ) -> tuple[datetime, list[CalledCustomer], list[Drift]] | None:
        """Returns the time of the roll call, its rows and the drift. Runs off the event loop.

        Returns None while no customer has bought."""
        if not sampled:
            return None
        states = states_of.from_bytes([packed for _, packed in sampled])
        # In a replay the newest events may lie a little after the last tick.
        at = max(now.timestamp(), float(states["ref"].max()))
        x = features(states, np.full(len(states), at))
        bought = assessable(x) & ~contracts.ended(states)
        if not bought.any():
            return None
        customers = [c for (c, _), buyer in zip(sampled, bought, strict=True) if buyer]
        called = datetime.fromtimestamp(at, UTC)
        p = champion.predict(x[bought])
        calls = self._rows(customers, x[bought], called, champion, p)
        return called, calls, [] if learned is None else _drifts(learned, x[bought], p)

    def _rows(
        self, customers: list[str], x: Floats, called: datetime, champion: Predictor, p: Floats
    ) -> list[CalledCustomer]:
        challenger = self.challenger()
        if challenger is not None and challenger.horizon_days != champion.horizon_days:
            challenger = None  # probabilities over another horizon do not compare
        beside = None if challenger is None else challenger.predict(x)
        rule = self.rule(champion.horizon_days).predict(x)
        midnight = called.timestamp() % DAY_S / DAY_S
        bought, silent, known = (
            column(x, name) for name in ("purchase_days", "recency_days", "tenure_days")
        )
        return [
            CalledCustomer(
                customer_id=customer,
                called_on=called.date(),
                called_at=called,
                horizon_days=champion.horizon_days,
                champion=champion.version,
                probability=float(p[n]),
                challenger=None if challenger is None else challenger.version,
                challenger_probability=None if beside is None else float(beside[n]),
                rule_probability=float(rule[n]),
                bought_that_day=bool(silent[n] <= midnight),
                purchase_days=float(bought[n]),
                recency_days=float(silent[n]),
                tenure_days=float(known[n]),
            )
            for n, customer in enumerate(customers)
        ]

    async def _settle(self, on: date) -> None:
        rows = await self.roll.called(on)
        customers = [row.customer_id for row in rows]
        found = await self.roll.states(customers, FEATURE_SET)
        kept = sorted(found)
        gone = [c for n, c in enumerate(customers) if n not in found]
        if not kept:
            await self.roll.settle(on, {}, [], gone=gone)
            return
        outcomes, worths = await asyncio.to_thread(
            _settled,
            on,
            [rows[n] for n in kept],
            [found[n] for n in kept],
            await self.roll.windows(customers),
            self.labels,
        )
        await self.roll.settle(on, outcomes, worths, gone=gone)
        log.info("roll call settled", called_on=str(on), rows=len(outcomes))

    async def _show(self, now: datetime) -> None:
        alarms = await self.alarms(now)
        for name, why in alarms.items():
            metrics.MODEL_ALARM.labels(name).set(bool(why))
        newest: set[tuple[str, str]] = set()
        for row in await self.roll.realised(now.date() - timedelta(days=KEEP_DAYS)):
            quality = row.quality
            key = (row.role, quality.segment)
            if key not in newest:
                newest.add(key)
                metrics.REALISED_AUC.labels(*key).set(quality.roc_auc)
                metrics.REALISED_GAP.labels(*key).set(quality.observed - quality.expected)
                metrics.REALISED_LIFT.labels(*key).set(quality.lift_at_10)
                for measure, value in quality.beside_the_card().items():
                    metrics.REALISED_QUALITY.labels(*key, measure).set(value)
        promised = await self.promised()
        for segment, quality in promised.items():
            for measure, value in quality.beside_the_card().items():
                metrics.PROMISED_QUALITY.labels(segment, measure).set(value)
        for found in await self.roll.newest_drift():
            metrics.DRIFT_PSI.labels(found.drift.feature).set(found.drift.psi)

    async def promised(self) -> Mapping[str, GroupQuality]:
        """Returns the measures in the serving model's card, by segment; empty without a card."""
        return await self.background.promised(self.champion().version)

    async def alarms(self, now: datetime) -> dict[str, str]:
        """Returns the reason of each alarm of the serving model; empty where there is no alarm."""
        version = self.champion().version
        rows = await self.roll.realised(now.date() - timedelta(days=KEEP_DAYS))
        latest = next(
            (
                row.quality
                for row in rows
                if (row.role, row.quality.segment, row.version) == ("champion", "all", version)
            ),
            None,
        )
        drifts = [row.drift for row in await self.roll.newest_drift() if row.version == version]
        importance = await self.background.importance(version)
        promised = (await self.promised()).get("all")
        trained_auc = None if promised is None else promised.roc_auc
        found = alarms(drifts, importance, latest, trained_auc)
        return {name: found[name] for name in ALARMS}


def _column(rows: Sequence[CalledCustomer], name: str) -> Floats:
    return np.array([getattr(row, name) for row in rows], np.float64)


def _drifts(learned: ServingModelFacts, x: Floats, p: Floats) -> list[Drift]:
    read = FEATURES[: learned.x.shape[1]]  # an older model learned from the first of them
    tests = len(read) + 1
    found = [
        drift(feature.name, learned.x[:, at], x[:, at], tests) for at, feature in enumerate(read)
    ]
    return [*found, drift(SCORE, learned.p, p, tests)]


def _settled(
    on: date,
    rows: Sequence[CalledCustomer],
    packed: list[bytes],
    windows: list[TreatmentWindow],
    labels: Labels,
) -> tuple[dict[str, bool], list[MeasuredScores]]:
    """Returns each customer's outcome and the measured scores. Runs off the event loop."""
    silent, weight = _outcome(rows, states_of.from_bytes(packed), windows, labels)
    outcomes = {row.customer_id: bool(s) for row, s in zip(rows, silent.tolist(), strict=True)}
    return outcomes, _group_qualities(on, rows, silent, weight)


def _outcome(
    rows: Sequence[CalledCustomer],
    states: np.ndarray[Any, np.dtype[np.void]],
    windows: list[TreatmentWindow],
    labels: Labels,
) -> tuple[Flags, Floats]:
    """Returns the silent rows (no purchase, or the contract ended) and each row's weight.

    A treated row has weight 0."""
    called = np.array([row.called_at.timestamp() for row in rows])
    horizon = _column(rows, "horizon_days").astype(np.int64)
    today = np.array([row.bought_that_day for row in rows], np.bool_)
    back = next_purchase_days(states, first_day(called, today))
    silent = back > last_day(called, horizon)
    if labels == "contractual":
        has = contracts.had(states)
        silent[has] = contracts.ended_within(states, called, called + horizon * DAY_S)[has]
    # A return counts as the end of its day, so that a task of the same day comes before it.
    when = np.where(np.isinf(back) | silent, np.inf, (back + 1) * DAY_S)
    treatments = treatments_of(windows, [row.customer_id for row in rows])
    arm = treatments.arms(float(called.min()), int(horizon.max()), when)
    weight, _ = weigh(arm, silent)
    return silent, weight


def _group_qualities(
    on: date, rows: Sequence[CalledCustomer], silent: Flags, weight: Floats
) -> list[MeasuredScores]:
    """Measures the scores of champion, challenger and rule, by segment and by version.

    By version, because one roll call may contain a swap of models."""
    groups = segments_of(
        _column(rows, "purchase_days"), _column(rows, "recency_days"),
        _column(rows, "tenure_days"), _column(rows, "horizon_days").astype(np.int64),
    )  # fmt: skip
    found: list[MeasuredScores] = []
    roles = (
        ("champion", "champion", "probability"),
        ("challenger", "challenger", "challenger_probability"),
        ("rule", None, "rule_probability"),
    )
    for role, named, score in roles:
        versions = np.array(
            ["rule" if named is None else getattr(row, named) or "" for row in rows]
        )
        p = _column(rows, score)
        for version in sorted(set(versions.tolist()) - {""}):
            of = versions == version
            for segment, members in groups.items():
                chosen = of & members & ~np.isnan(p)
                measured = group_quality(segment, silent[chosen], p[chosen], weight[chosen])
                if measured is not None:
                    found.append(MeasuredScores(on, version, role, measured))
    return found
