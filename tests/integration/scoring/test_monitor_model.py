"""Model monitoring on the real tables: scores now, outcomes later, alarms when they differ."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring import metrics
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import (
    FEATURE_SET,
    empty,
    from_bytes,
    to_bytes,
)
from services.scoring.handlers.monitor_model import MonitorModel
from services.scoring.model import reference
from services.scoring.model.background import Background
from services.scoring.model.rule_model import RuleModel
from services.scoring.model.store import ArtefactStore
from services.scoring.ports import Predictor
from services.scoring.store.models import ModelRow, Models
from services.scoring.store.monitoring import MonitoringTables
from services.scoring.store.treatments import Treatments
from shared.contracts.treatment import TreatmentRecorded
from shared.postgres.engine import unit_of_work
from tests.fakes.model import tiny_model
from tests.integration.scoring.postgres import table

pytestmark = pytest.mark.stack

N, H = 900, 28
T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY0 = T0.timestamp() // DAY_S * DAY_S
NAMES = [f"c{n:03}" for n in range(N)]


def purchases(row: np.ndarray, time: np.ndarray) -> EventColumns:
    """Return purchases of 10 by each of these customers."""
    n = len(row)
    return EventColumns(
        row=row.astype(np.int64),
        kind=np.full(n, Kind.PURCHASE, np.uint8),
        time=time,
        amount=np.full(n, 10.0),
        score=np.full(n, np.nan),
        key=np.arange(n, dtype=np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.full(n, np.nan),
        channel=np.zeros(n, np.uint8),
    )


async def write(engine: AsyncEngine, states: np.ndarray) -> None:
    """Write these states as the customers' states."""
    async with unit_of_work(engine) as work:
        await work.driver.execute("DELETE FROM scoring.customer_state")
        await work.driver.copy_records_to_table(
            "customer_state",
            schema_name="scoring",
            columns=["customer_id", "partition", "feature_set", "state"],
            records=[
                (name, 0, FEATURE_SET, packed)
                for name, packed in zip(NAMES, to_bytes(states), strict=True)
            ],
        )


def past(seed: int = 1) -> np.ndarray:
    """Return the states after a hundred days of purchases, with each customer's own rhythm."""
    random = np.random.default_rng(seed)
    gaps = random.uniform(2, 25, N)
    rows, times = [], []
    for n in range(N):
        at = random.uniform(-100, -80)
        while at < -0.5:
            rows.append(n)
            times.append(DAY0 + at * DAY_S)
            at += random.exponential(gaps[n])
    return fold(empty(N), purchases(np.array(rows), np.array(times)))


class Fixture:
    """Monitoring of the rule with a challenger, at times that the test sets."""

    def __init__(self, engine: AsyncEngine, artefacts: ArtefactStore) -> None:
        self.engine, self.artefacts = engine, artefacts
        self.models = Models(engine)
        self.champion: Predictor = RuleModel(H)
        self.challenger: Predictor | None = tiny_model(2)
        self.watch = MonitorModel(
            labels="silence",
            roll=MonitoringTables(engine),
            background=Background(self.models.serving, artefacts),
            champion=lambda: self.champion,
            challenger=lambda: self.challenger,
            rule=RuleModel,
            now=_never,
            poll_s=1.0,
        )

    async def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table."""
        return await table(self.engine, name)


async def _never() -> None:
    return None


@pytest.fixture
async def f(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[Fixture]:
    """Provide monitoring with the states of `past`."""
    await write(engine, past())
    yield Fixture(engine, ArtefactStore(tmp_path))


async def test_scores_are_kept_and_settled_when_the_horizon_is_over(f: Fixture) -> None:
    """Stores every customer's score by champion, challenger and rule.

    After 28 days each customer's own purchase days give the outcome; treated customers do not count
    as having stayed.
    """
    await f.watch.look(T0)
    called = await f.rows("roll_call")
    assert len(called) == N
    assert {row["silent"] for row in called} == {None}
    assert all(row["probability"] == row["rule_probability"] for row in called)
    assert {row["challenger"] for row in called} == {tiny_model(2).version}
    await f.watch.look(T0 + timedelta(days=6))
    assert len(await f.rows("roll_call")) == N, "one call a week"

    returns = np.arange(N) % 3 > 0
    when = DAY0 + (3 + np.arange(N) % 20) * DAY_S + 3_600
    states = fold(past(), purchases(np.flatnonzero(returns), when[returns]))
    too_late = fold(states, purchases(np.flatnonzero(~returns), when[~returns] + 40 * DAY_S))
    await write(f.engine, too_late)
    treated = NAMES[:90]
    async with unit_of_work(f.engine) as work:
        await Treatments(f.engine).add(
            work,
            [
                TreatmentRecorded(customer_id=c, kind="task_raised", at=T0 + timedelta(days=1))
                for c in treated
            ],
        )
    await f.watch.look(T0 + timedelta(days=H + 1))
    settled = [r for r in await f.rows("roll_call") if r["called_on"] == T0.date()]
    assert {r["silent"] for r in settled} == {None}, "the last day is not over yet"
    await f.watch.look(T0 + timedelta(days=H + 2))
    settled = [r for r in await f.rows("roll_call") if r["called_on"] == T0.date()]
    assert [r["silent"] for r in settled] == (~returns).tolist()

    worth = {(r["role"], r["segment"]): r for r in await f.rows("realised")}
    assert {role for role, _ in worth} == {"champion", "challenger", "rule"}
    whole = worth["champion", "all"]
    assert whole["rows"] == N
    # 60 of 90 treated came back, and count half.
    assert whole["observed"] == pytest.approx(300 / (N - 30))
    assert whole["expected"] == pytest.approx(
        np.average(
            [r["probability"] for r in settled],
            weights=[
                0.5 if r["customer_id"] in treated and not r["silent"] else 1 for r in settled
            ],
        )
    )
    assert metrics.REALISED_AUC.labels("champion", "all")._value.get() == whole["roc_auc"]


async def test_other_customers_than_those_learned_from_raise_the_drift_alarm(f: Fixture) -> None:
    """No alarm on the customers that it learned from; one when customers behave otherwise."""
    model = tiny_model(3)
    f.champion = model
    await f.watch.look(T0)
    assert await f.rows("drift") == [], "nothing is known of how it was made"
    packed = [row["state"] for row in await f.rows("customer_state")]
    from services.scoring.core.features.compute import features  # noqa: PLC0415

    x = features(from_bytes(packed), np.full(N, T0.timestamp()))
    await f.models.register(
        ModelRow(
            version=model.version,
            digest="0" * 64,
            feature_set=FEATURE_SET,
            horizon_days=H,
            created_at=T0,
            report='{"importance": {"recency_days": 0.9}}',
            reference_digest=f.artefacts.put(reference.dumps(x, model.predict(x))),
        )
    )
    await f.models.promote(model.version, "a test", T0)
    await f.watch.look(T0 + timedelta(days=7))
    found = {row["feature"]: row for row in await f.rows("drift")}
    assert not found["gap_mean_days"]["drifted"]
    # No purchases since: a week later every customer is a week more silent.
    assert found["recency_days"]["drifted"]
    assert metrics.MODEL_ALARM.labels("drift")._value.get() == 1
    why = (await f.watch.alarms(T0 + timedelta(days=7)))["drift"]
    assert "recency_days" in why or "score" in why

    last = np.full(N, DAY0 + 13.5 * DAY_S) - np.random.default_rng(4).permutation(N) % 6 * DAY_S
    await write(f.engine, fold(past(), purchases(np.arange(N), last)))
    f.champion = RuleModel(H)
    assert (await f.watch.alarms(T0 + timedelta(days=7)))["drift"] == "", "not of this model"


async def test_customers_who_are_gone_are_forgotten(f: Fixture) -> None:
    """Customers who were erased meanwhile have no row left; the others are settled."""
    await f.watch.look(T0)
    async with unit_of_work(f.engine) as work:
        await work.driver.execute("DELETE FROM scoring.customer_state WHERE customer_id < 'c100'")
    await f.watch.look(T0 + timedelta(days=H + 2))
    settled = [r for r in await f.rows("roll_call") if r["called_on"] == T0.date()]
    assert len(settled) == N - 100
    assert all(r["silent"] for r in settled)


async def test_an_old_call_is_removed(f: Fixture) -> None:
    await f.watch.look(T0)
    await f.watch.look(T0 + timedelta(days=800))
    assert {r["called_on"] for r in await f.rows("roll_call")} == {
        (T0 + timedelta(days=800)).date()
    }


async def test_a_contractual_outcome_is_the_contract_s_end(f: Fixture) -> None:
    """The outcome of a customer under contract is whether the contract ends within the horizon.

    Customers with a contract that ended before are not in the sample; those without one are judged
    by silence.
    """
    under = np.arange(N) % 2 == 0
    started = contracts(Kind.CONTRACT_ACTIVATED, np.flatnonzero(under), DAY0 - 50 * DAY_S)
    gone = np.arange(N) < 10
    over = contracts(Kind.CONTRACT_ENDED, np.flatnonzero(under & gone), DAY0 - DAY_S)
    states = fold(fold(past(), started), over)
    await write(f.engine, states)
    f.watch = replace(f.watch, labels="contractual")
    await f.watch.look(T0)
    called = await f.rows("roll_call")
    assert len(called) == N - 5

    ends = under & ~gone & (np.arange(N) % 3 == 0)
    bought = np.arange(N) % 5 > 0
    states = fold(states, contracts(Kind.CONTRACT_ENDED, np.flatnonzero(ends), DAY0 + 9 * DAY_S))
    when = np.full(int(bought.sum()), DAY0 + 4 * DAY_S)
    await write(f.engine, fold(states, purchases(np.flatnonzero(bought), when)))
    await f.watch.look(T0 + timedelta(days=H + 2))
    settled = [r for r in await f.rows("roll_call") if r["called_on"] == T0.date()]
    expected = np.where(under, ends, ~bought)[~(under & gone)]
    assert [r["silent"] for r in settled] == expected.tolist()


def contracts(kind: Kind, rows: np.ndarray, at: float) -> EventColumns:
    """Return one contract event of each of these customers."""
    bought = purchases(rows, np.full(len(rows), at))
    return replace(bought, kind=np.full(len(rows), kind, np.uint8))
